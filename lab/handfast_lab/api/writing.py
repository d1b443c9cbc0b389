"""What creating and updating make of what a client sent: which fields are the server's own, and which stay. Pure.

The one rule: `status` is written through its subresource alone, and everything else never through it.
"""

import base64
import json
import uuid
from typing import Any, Final

from handfast_lab.api.defaults import quality
from handfast_lab.api.naming import random_suffix
from handfast_lab.api.problems import ApiProblem, conflict, invalid
from handfast_lab.api.resources import Resource

Json = dict[str, Any]
_COUNTED: Final = frozenset(
    {"Pod", "Deployment", "ReplicaSet", "Job", "CustomResourceDefinition", "MutatingWebhookConfiguration",
     "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "LimitRange"}
)  # fmt: skip
"""Built-in kinds whose specs have generations."""
_OWN: Final = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds",
               "generateName",
               "name", "namespace")  # fmt: skip
_GIVEN: Final = ("name", "generateName", "namespace", "labels", "annotations", "ownerReferences", "finalizers")
_UPDATABLE: Final = ",".join(
    f"`spec.{each}`"
    for each in (
        "containers[*].image",
        "initContainers[*].image",
        "activeDeadlineSeconds",
        "tolerations (only additions to existing tolerations)",
        "terminationGracePeriodSeconds (allow it to be set to 1 if it was previously negative)",
    )
)
_FROZEN: Final = "field is immutable when `immutable` is set"
_UNCONDITIONAL: Final = "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
_STALE: Final = "the object has been modified; please apply your changes to the latest version and try again"


def received(resource: Resource, body: Json, namespace: str) -> Json:
    """What is admitted: what a client may say of an object that is new, which has no uid and perhaps no name yet."""
    given = body.get("metadata") or {}
    meta = {name: given[name] for name in _GIVEN if given.get(name)}
    if resource.namespaced:
        meta["namespace"] = namespace
    return normal(body | {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta})


def created(resource: Resource, body: Json, now: str) -> Json:
    """The first form of an object, from what was admitted."""
    meta = dict(body["metadata"])
    if not meta.get("name") and "generateName" in meta:
        meta["name"] = meta["generateName"] + random_suffix()
    meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": now}
    if resource.definition is not None or resource.kind in _COUNTED:
        meta["generation"] = 1
    new = body | {"metadata": meta}
    if resource.accepts("status") and resource.kind != "Node":
        new.pop("status", None)
    return new | _first_status(resource, new)


def normal(found: Json) -> Json:
    """With a Secret's `stringData` among its data."""
    if found.get("kind") != "Secret" or "stringData" not in found:
        return found
    said = {name: base64.b64encode(text.encode()).decode() for name, text in (found["stringData"] or {}).items()}
    kept = {name: value for name, value in found.items() if name != "stringData"}
    return kept | {"data": (found.get("data") or {}) | said}


def updated(resource: Resource, old: Json, body: Json, subresource: str = "") -> Json:
    """The next form of an object; `old` itself where nothing changes. Raises ApiProblem."""
    meta, given, name = old["metadata"], body.get("metadata") or {}, old["metadata"]["name"]
    if given.get("uid") and given["uid"] != meta["uid"]:
        why = f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {meta['uid']}"
        raise conflict(resource.name, name, why)
    version = given.get("resourceVersion") or ""
    if resource.conditional and not version:
        raise invalid(resource.group_kind, name, [_UNCONDITIONAL])
    if version not in ("", "0", meta["resourceVersion"]):
        raise conflict(resource.name, name, _STALE)
    new = _next(resource, old, normal(body), subresource)
    if resource.definition is not None or resource.kind in _COUNTED:
        changed = _spec(new) != _spec(old)
        new["metadata"] = new["metadata"] | {"generation": meta.get("generation", 1) + changed}
    return old if new == old else new


def _next(resource: Resource, old: Json, body: Json, subresource: str) -> Json:
    match subresource:
        case "status":
            return old | {"status": body.get("status") or {}}
        case "ephemeralcontainers":
            added = (body.get("spec") or {}).get("ephemeralContainers") or []
            known = old["spec"].get("ephemeralContainers") or []
            if any(each not in added for each in known):
                said = (
                    "spec.ephemeralContainers: Forbidden: existing ephemeral containers may not be removed or changed"
                )
                raise invalid("Pod", old["metadata"]["name"], [said])
            return old | {"spec": old["spec"] | {"ephemeralContainers": added}}
        case _:
            return _whole(resource, old, body)


def _whole(resource: Resource, old: Json, body: Json) -> Json:
    meta, given = old["metadata"], body.get("metadata") or {}
    new = body | {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {name: given[name] for name in _GIVEN if given.get(name)}
        | {name: meta[name] for name in (*_OWN, "resourceVersion", "managedFields") if name in meta},
    }
    if resource.accepts("status"):
        new.pop("status", None)
        new |= {"status": old["status"]} if "status" in old else {}
    if resource.kind == "Service" and "spec" in new:
        kept = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
        new["spec"] = {name: old["spec"][name] for name in kept if name in old["spec"]} | new["spec"]
    if resource.kind == "Namespace":
        new["spec"] = old["spec"]
    return new


def problems(resource: Resource, old: Json | None, new: Json) -> list[str]:
    """What a built-in kind forbids."""
    if resource.group_kind == "Secret":
        return _secret_problems(old, new)
    if old is None:
        empty = resource.kind == "Pod" and not new["spec"].get("containers")
        return ["spec.containers: Required value"] if empty else []
    match resource.group_kind:
        case "ConfigMap" if old.get("immutable"):
            return _frozen(old, new, ("data", "binaryData"))
        case "Pod" if _pinned(old["spec"]) != _pinned(new["spec"] | _placed(old["spec"])):
            return [f"spec: Forbidden: pod updates may not change fields other than {_UPDATABLE}"]
        case "Deployment.apps" | "ReplicaSet.apps" | "Job.batch":
            frozen = ["selector", *(["template"] if resource.kind == "Job" else [])]
            return [f"spec.{each}: Invalid value: {_shown(new['spec'].get(each))}: field is immutable"
                    for each in frozen if new["spec"].get(each) != old["spec"].get(each)]  # fmt: skip
        case _:
            return []


def _secret_problems(old: Json | None, new: Json) -> list[str]:
    found = []
    if new.get("type") == "kubernetes.io/tls":
        needed = (each for each in ("tls.crt", "tls.key") if each not in (new.get("data") or {}))
        found += [f"data[{each}]: Required value" for each in needed]
    for name, value in (new.get("data") or {}).items():
        try:
            base64.b64decode(value, validate=True)
        except (TypeError, ValueError) as error:
            message = f'Secret in version "v1" cannot be handled as a Secret: illegal base64 data in data["{name}"]'
            raise ApiProblem(400, "BadRequest", message) from error
    if old is not None and old.get("type") != new.get("type"):
        found.append(f'type: Invalid value: "{new.get("type")}": field is immutable')
    if old is not None and old.get("immutable"):
        found += _frozen(old, new, ("data",))
    return found


def _frozen(old: Json, new: Json, fields: tuple[str, ...]) -> list[str]:
    thawed = [] if new.get("immutable") else [f"immutable: Forbidden: {_FROZEN}"]
    return thawed + [
        f"{each}: Forbidden: {_FROZEN}" for each in fields if (old.get(each) or {}) != (new.get(each) or {})
    ]


def _pinned(spec: Json) -> Json:
    """What of a pod's spec cannot change."""
    free = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")
    kept = {name: value for name, value in spec.items() if name not in free and value not in (None, [], {})}
    for field in ("containers", "initContainers"):
        kept[field] = [
            {name: value for name, value in each.items() if name != "image"} for each in spec.get(field) or ()
        ]
    return kept


def _placed(old: Json) -> Json:
    """The lab has no Binding: a pod without a node gets one by an update."""
    return {"nodeName": old.get("nodeName")} if not old.get("nodeName") else {}


def _shown(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _spec(found: Json) -> Json:
    return {name: value for name, value in found.items() if name not in ("metadata", "status")}


def _first_status(resource: Resource, new: Json) -> Json:
    match resource.group_kind:
        case "Namespace":
            return {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
        case "Pod":
            return {"status": {"phase": "Pending", "qosClass": quality(new["spec"])}}
        case "Service":
            return {"status": {"loadBalancer": {}}}
        case "Job.batch":
            return {"spec": new["spec"] | {"selector": {"matchLabels": {
                "batch.kubernetes.io/controller-uid": new["metadata"]["uid"]}}}}  # fmt: skip
        case _:
            return {} if resource.definition is not None or "status" not in resource.subresources else {"status": {}}
