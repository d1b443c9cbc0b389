"""The AdmissionReview protocol."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_operator.admission.refusals import ephemeral_refusal
from handfast_operator.admission.review import BadReview, allow, parse_review, refuse


def body(**request: object) -> bytes:
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


def test_a_review_is_read() -> None:
    review = parse_review(body(uid="1", namespace="shop", object={"spec": {}}))
    assert (review.uid, review.namespace, review.object) == ("1", "shop", {"spec": {}})


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


@pytest.mark.parametrize("text", [b"", b"[]", b'{"request":{}}', body(uid="1", object=None), b'{"apiVersion":"v2"}'])
def test_what_is_no_review_is_refused(text: bytes) -> None:
    with pytest.raises(BadReview):
        parse_review(text)


@given(st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_arbitrary_json_raises_nothing_but_bad_review(document: object) -> None:
    with pytest.raises(BadReview):
        parse_review(json.dumps(document).encode())
