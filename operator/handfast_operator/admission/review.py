"""AdmissionReview, version 1: what the API server asks, and the answers it understands. Pure."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from handfast_sidecar.errors import BadInput

Json = dict[str, Any]


class BadReview(BadInput):
    """A request body that is no AdmissionReview of version 1."""


@dataclass(frozen=True, slots=True)
class Review:
    """What is asked."""

    uid: str
    namespace: str
    object: Mapping[str, Any]


def parse_review(body: bytes) -> Review:
    """Read a request; raises BadReview."""
    try:
        document = json.loads(body)
        request = document["request"]
        raw = request["object"]
        if document["apiVersion"] != "admission.k8s.io/v1" or not isinstance(raw, dict):
            raise BadReview("expected an AdmissionReview of admission.k8s.io/v1 with an object")
        return Review(str(request["uid"]), str(request.get("namespace") or ""), raw)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadReview(f"not an AdmissionReview: {error!r}") from error


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


def patch_between(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Json]:
    """What turns one pod into the other (RFC 6902): whole lists of its spec, and only those that differ."""
    old, new = before.get("spec") or {}, after["spec"]
    return [
        {"op": "replace" if name in old else "add", "path": f"/spec/{name}", "value": new[name]}
        for name in ("initContainers", "containers", "volumes")
        if name in new and new[name] != old.get(name)
    ]


def _answer(response: Json) -> Json:
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
