"""AdmissionReview, version 1: what the API server asks, and the answers it understands. Pure."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from handfast_operator.admission.shape import BadShape, check_pod
from handfast_sidecar.errors import BadInput

Json = dict[str, Any]
MAX_UID = 128
"""Characters of a request's UID, which has 36: it is echoed, so a long one is nobody's but an attacker's."""


class BadReview(BadInput):
    """A request body that is no AdmissionReview of version 1 about a pod."""


@dataclass(frozen=True, slots=True)
class Review:
    """What is asked."""

    uid: str
    namespace: str
    pod: Mapping[str, Any]


def parse_review(body: bytes) -> Review:
    """Read a request; raises BadReview."""
    try:
        document = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadReview(f"the body is not JSON: {error}") from error
    request = document.get("request") if isinstance(document, dict) else None
    if not isinstance(request, dict) or document.get("apiVersion") != "admission.k8s.io/v1":
        raise BadReview("expected an AdmissionReview of admission.k8s.io/v1 with a request")
    uid, namespace = request.get("uid"), request.get("namespace")
    if not isinstance(uid, str) or not 0 < len(uid) <= MAX_UID:
        raise BadReview("request.uid is missing")
    if not isinstance(namespace, str) or not namespace:
        raise BadReview("request.namespace is missing: pods live in namespaces")
    try:
        return Review(uid, namespace, check_pod(request.get("object")))
    except BadShape as error:
        raise BadReview(f"request.object: {error}") from error


def allow(uid: str, patch: Sequence[Json] = (), warnings: Sequence[str] = ()) -> Json:
    """Let the object pass, changed by an RFC 6902 patch when there is one."""
    response: Json = {"uid": uid, "allowed": True}
    if patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(json.dumps(list(patch)).encode()).decode()
    if warnings:
        response["warnings"] = list(warnings)
    return _answer(response)


def refuse(uid: str, message: str) -> Json:
    """Turn the object away with a sentence."""
    status = {"status": "Failure", "code": 403, "reason": "Forbidden", "message": f"Handfast: {message}"}
    return _answer({"uid": uid, "allowed": False, "status": status})


def _answer(response: Json) -> Json:
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")
