"""What kinds the server has: aggregated discovery, the older documents, and OpenAPI as far as kubectl reads it. Pure.

OpenAPI has schemas of the custom resources alone (`kubectl explain`); of all kinds it says that their fields are
checked here, so that kubectl does not do it itself.
"""

from collections.abc import Iterable
from typing import Any, Final

from handfast_lab.api.resources import Resource

Json = dict[str, Any]
VERSION: Final = "v1.36.3"
AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_VERBS: Final = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_GET: Final = ["get", "patch", "update"]
_SUBRESOURCES: Final = {
    "scale": ("autoscaling", "v1", "Scale", _GET),
    "token": ("authentication.k8s.io", "v1", "TokenRequest", ["create"]),
    "eviction": ("policy", "v1", "Eviction", ["create"]),
    "log": ("", "v1", "Pod", ["get"]),
    "exec": ("", "v1", "PodExecOptions", ["create", "get"]),
    "portforward": ("", "v1", "PodPortForwardOptions", ["create", "get"]),
}


def version() -> Json:
    """`/version`; the build says whose answer this is."""
    major, minor, _ = VERSION[1:].split(".")
    return {"major": major, "minor": minor, "gitVersion": VERSION, "gitCommit": "handfast-lab", "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "",
            "platform": "linux/amd64"}  # fmt: skip


def aggregated(resources: Iterable[Resource], *, core: bool) -> Json:
    """All kinds in one answer: `/api` (core) or `/apis`."""
    groups: dict[str, list[Json]] = {}
    for each in resources:
        if (each.group == "") == core:
            groups.setdefault(each.group, []).append(_aggregated(each))
    items = [
        {
            "metadata": {"name": group, "creationTimestamp": None},
            "versions": [{"version": kinds[0]["responseKind"]["version"], "resources": kinds, "freshness": "Current"}],
        }
        for group, kinds in groups.items()
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def groups(resources: Iterable[Resource]) -> Json:
    """`/apis`, as older clients read it."""
    found = {each.group: _group(each) for each in resources if each.group}
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": list(found.values())}


def kinds(resources: Iterable[Resource], root: str) -> Json | None:
    """`/api/v1` or `/apis/GROUP/VERSION`, as older clients read it."""
    found = [each for each in resources if each.root == root]
    if not found:
        return None
    entries = []
    for each in found:
        entries.append({"name": each.plural, "singularName": _singular(each), "namespaced": each.namespaced,
                        "kind": each.kind, "verbs": _VERBS, "shortNames": list(each.short),
                        "categories": list(each.categories)})  # fmt: skip
        for name in sorted(each.subresources):
            group, served, kind, verbs = _subresource(each, name)
            entries.append({"name": f"{each.plural}/{name}", "singularName": "", "namespaced": each.namespaced,
                            "kind": kind, "group": group, "version": served, "verbs": verbs})  # fmt: skip
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": found[0].api_version, "resources": entries}


def openapi_paths(resources: Iterable[Resource]) -> Json:
    """`/openapi/v3`: where each group's document is."""
    roots = sorted({each.root for each in resources})
    return {"paths": {root[1:]: {"serverRelativeURL": f"/openapi/v3{root}"} for root in roots}}


def openapi(resources: Iterable[Resource], root: str) -> Json:
    """One group's document."""
    paths: Json = {}
    schemas: Json = {}
    strict = [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}]
    for each in resources:
        if each.root != root:
            continue
        gvk = {"group": each.group, "version": each.version, "kind": each.kind}
        action = {"x-kubernetes-group-version-kind": gvk, "parameters": strict, "responses": {}}
        within = "/namespaces/{namespace}" if each.namespaced else ""
        paths[f"{root}{within}/{each.plural}"] = {"post": action, "get": action}
        paths[f"{root}{within}/{each.plural}/{{name}}"] = {"put": action, "patch": action, "get": action}
        if each.definition is not None:
            versions = each.definition["spec"]["versions"]
            found = next(one for one in versions if one["name"] == each.version)
            name = ".".join([*reversed(each.group.split(".")), each.version, each.kind])
            schemas[name] = found["schema"]["openAPIV3Schema"] | {"x-kubernetes-group-version-kind": [gvk]}
    info = {"title": "Kubernetes", "version": VERSION}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _aggregated(each: Resource) -> Json:
    gvk = {"group": each.group, "version": each.version, "kind": each.kind}
    entry: Json = {
        "resource": each.plural,
        "responseKind": gvk,
        "scope": "Namespaced" if each.namespaced else "Cluster",
        "singularResource": _singular(each),
        "verbs": _VERBS,
    }
    if each.short:
        entry["shortNames"] = list(each.short)
    if each.categories:
        entry["categories"] = list(each.categories)
    subresources = []
    for name in sorted(each.subresources):
        group, served, kind, verbs = _subresource(each, name)
        answer = {"group": group, "version": served, "kind": kind}
        subresources.append({"subresource": name, "responseKind": answer, "verbs": verbs})
    return entry | ({"subresources": subresources} if subresources else {})


def _subresource(each: Resource, name: str) -> tuple[str, str, str, list[str]]:
    return _SUBRESOURCES.get(name, (each.group, each.version, each.kind, _GET))


def _group(each: Resource) -> Json:
    served = {"groupVersion": each.api_version, "version": each.version}
    return {"name": each.group, "versions": [served], "preferredVersion": served}


def _singular(each: Resource) -> str:
    return each.singular or each.kind.lower()
