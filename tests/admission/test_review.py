"""The AdmissionReview protocol."""

import base64
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_operator.admission.refusals import ephemeral_refusal
from handfast_operator.admission.review import BadReview, allow, parse_review, refuse


def body(**request: object) -> bytes:
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


def test_a_review_is_read() -> None:
    review = parse_review(body(uid="1", namespace="shop", object={"spec": {}}))
    assert (review.uid, review.namespace, review.pod) == ("1", "shop", {"spec": {}})


def test_an_answer_carries_the_uid_and_the_patch() -> None:
    response = allow("7", [{"op": "add", "path": "/spec/volumes", "value": []}])["response"]
    assert (response["uid"], response["allowed"], response["patchType"]) == ("7", True, "JSONPatch")
    assert json.loads(base64.b64decode(response["patch"]))[0]["op"] == "add"


def test_a_refusal_is_a_sentence_with_our_name() -> None:
    response = refuse("7", "no")["response"]
    assert not response["allowed"]
    assert response["status"]["message"] == "Handfast: no"


def test_an_ephemeral_container_may_not_run_as_the_proxy() -> None:
    bad = {"spec": {"ephemeralContainers": [{"name": "debug", "securityContext": {"runAsUser": 7443}}]}}
    assert "'debug' runs as user 7443" in (ephemeral_refusal(bad) or "")
    assert ephemeral_refusal({"spec": {"ephemeralContainers": [{"name": "debug"}]}}) is None


def test_an_ephemeral_container_may_not_read_the_proxys_key() -> None:
    mount = {"name": "handfast-identity", "mountPath": "/k"}
    bad = {"spec": {"ephemeralContainers": [{"name": "debug", "volumeMounts": [mount]}]}}
    assert "the sidecar's alone" in (ephemeral_refusal(bad) or "")


@pytest.mark.parametrize(
    ("pod", "sentence"),
    [
        ({}, "no spec"),
        ({"spec": {}, "metadata": {"labels": {"a": 1}}}, "metadata.labels.a is a int, expected str"),
        ({"spec": {"containers": [{}]}}, "spec.containers[0] has no name"),
        ({"spec": {"hostNetwork": 1}}, "spec.hostNetwork is a int, expected bool"),
        ({"spec": {"securityContext": {"runAsUser": True}}}, "spec.securityContext.runAsUser is a bool"),
        (
            {"spec": {"containers": [{"name": "a", "livenessProbe": {"grpc": {"port": "x"}}}]}},
            "spec.containers[0].livenessProbe.grpc.port is a str, expected int",
        ),
    ],
)
def test_a_field_that_no_pod_has_like_that_is_named(pod: object, sentence: str) -> None:
    with pytest.raises(BadReview, match=re.escape(sentence)):
        parse_review(body(uid="1", namespace="shop", object=pod))


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'{"request":{}}', body(uid="1", object=None), b'{"apiVersion":"v2"}', b"NaN", b"[" * 99999]
)
def test_what_is_no_review_is_refused(text: bytes) -> None:
    with pytest.raises(BadReview):
        parse_review(text)


@given(st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_arbitrary_json_raises_nothing_but_bad_review(document: object) -> None:
    with pytest.raises(BadReview):
        parse_review(json.dumps(document).encode())
