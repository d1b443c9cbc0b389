"""What the custom resources of access refuse, and with which words."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from handfast_lab.api.schema import CustomSchema
from support.access import grant_body, request_body

Json = dict[str, Any]
CRDS = Path(__file__).parent.parent.parent.parent / "crds"
EMPTY = "an empty selector selects nothing in particular: write matchLabels or matchExpressions"
REF = {"namespace": "web", "name": "front", "uid": "u"}
WEB = {"namespace": "web", "serviceAccounts": ["front"]}


def said(obj: Json, old: Json | None = None) -> str:
    crd = yaml.safe_load((CRDS / f"{obj['kind'].lower()}s.yaml").read_text())
    schema = CustomSchema.of(crd, "v1alpha1")
    assert schema.unknown_fields(obj) == []
    return "; ".join(schema.problems(schema.default(obj), old))


def target(**selector: Any) -> Json:
    return {"namespace": "shop", "selector": selector}


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"serviceAccounts": []}, "spec.serviceAccounts in body should have at least 1 items"),
        ({"serviceAccounts": ["shop/cart"]}, "a service account is named by its name alone"),
        ({"serviceAccounts": ["*"]}, "a service account is named by its name alone"),
        ({"serviceAccounts": [f"a{number}" for number in range(17)]}, "spec.serviceAccounts: Too many: 17"),
        ({"target": {"selector": {"matchLabels": {"a": "b"}}}}, "spec.target.namespace: Required value"),
        ({"target": {"namespace": "shop"}}, "spec.target.selector: Required value"),
        ({"target": target()}, EMPTY),
        ({"target": target(matchLabels={})}, EMPTY),
        ({"target": target(matchLabels={"a": "b,c=d"})}, "a label's value has letters, digits"),
        (
            {"target": target(matchExpressions=[{"key": "a", "operator": "NotIn", "values": ["b),app in (c"]}])},
            "a label's value has letters, digits",
        ),
        ({"target": target(matchExpressions=[{"key": "a,b", "operator": "Exists"}])}, "a label's name has letters"),
        ({"ports": []}, "spec.ports in body should have at least 1 items"),
        ({"ports": [0]}, "a container port is a number from 1 to 65535"),
        ({"reason": None}, "spec.reason: Required value"),
        ({"reason": ""}, "spec.reason in body should be at least 1 chars long"),
        ({"duration": None}, "spec.duration: Required value"),
        ({"duration": "59s"}, "duration must be from 1m to 8760h (a year)"),
        ({"duration": "8761h"}, "duration must be from 1m to 8760h (a year)"),
        ({"duration": "99999999h"}, "duration must be at most 8760h (a year)"),
        ({"duration": "1d"}, "duration is a time in hours, minutes and seconds, such as 8h or 1h30m"),
    ],
)
def test_a_bad_request_is_refused(spec: Json, sentence: str) -> None:
    assert sentence in said(request_body(**spec))


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"ports": None, "duration": "8760h"},
        {"duration": "1m", "serviceAccounts": ["a.b-c", "default"]},
        {"target": target(matchExpressions=[{"key": "a.example/b_c", "operator": "In", "values": ["", "x.y_z-1"]}])},
    ],
)
def test_a_good_request_passes_and_may_be_changed(spec: Json) -> None:
    assert said(request_body(**spec)) == ""
    assert said(request_body(**spec), request_body(reason="another")) == ""


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"expiresAt": None}, "an approval ends: set expiresAt"),
        ({"expiresAt": "tomorrow"}, "must be of type date-time"),
        ({"decision": "Deny", "request": REF}, "a denial does not end: leave expiresAt out"),
        ({"decision": "Deny", "expiresAt": None}, "a denial answers a request: set request"),
        ({"decision": "Maybe"}, 'supported values: "Approve", "Deny"'),
        ({"selector": {}}, EMPTY),
        ({"selector": None}, "spec.selector: Required value"),
        ({"from": None}, "spec.from: Required value"),
        ({"from": {"namespace": "web", "serviceAccounts": []}}, "should have at least 1 items"),
        ({"from": WEB | {"namespace": "web/sa/x"}}, "a namespace's name has lower-case letters"),
        ({"request": {"namespace": "web", "name": "front"}}, "spec.request.uid: Required value"),
    ],
)
def test_a_bad_grant_is_refused(spec: Json, sentence: str) -> None:
    assert sentence in said(grant_body(**spec))


def test_a_grant_that_nobody_asked_for_is_its_owners_own_decision() -> None:
    assert said(grant_body()) == ""
    assert said(grant_body(request=REF, decision="Deny", expiresAt=None, answer="no", answeredBy="jane")) == ""


@pytest.mark.parametrize(
    "spec", [{"expiresAt": "2099-01-01T00:00:00Z"}, {"ports": None}, {"from": WEB | {"serviceAccounts": ["root"]}}]
)
def test_a_grant_is_never_changed(spec: Json) -> None:
    assert "a grant cannot be changed: delete it, which ends it" in said(grant_body(**spec), grant_body())
    assert said(grant_body(), grant_body()) == ""
