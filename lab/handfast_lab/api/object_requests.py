"""Requests to one object and its subresources: get, replace, patch, delete; scale, token, eviction, and the streams."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, Protocol

from aiohttp import web

from handfast_lab.api import exec as execution
from handfast_lab.api import port_forward
from handfast_lab.api.deletion import Options
from handfast_lab.api.events import to_core, to_group
from handfast_lab.api.patching import json_patch, merge_patch, strategic_patch
from handfast_lab.api.problems import ApiProblem, bad_request, invalid, not_allowed
from handfast_lab.api.registry import Registry
from handfast_lab.api.replies import bodies, calls, reply
from handfast_lab.api.requests import Target
from handfast_lab.api.resources import Resource
from handfast_lab.api.showing import Showing
from handfast_lab.api.store import Key

Json = dict[str, Any]
APPLY: Final = "application/apply-patch+yaml"
_STRATEGIC: Final = "application/strategic-merge-patch+json"
_PATCHES: Final[dict[str, Callable[[Json, Any], Any]]] = {
    "application/json-patch+json": json_patch,
    "application/merge-patch+json": merge_patch,
    _STRATEGIC: strategic_patch,
}
_NEVER: Final = "2100-01-01T00:00:00Z"
"""When tokens expire: after any lab."""
_STREAMED: Final[dict[str, Callable[["PodAccess", web.Request, Json], Awaitable[web.StreamResponse]]]] = {
    "log": execution.logs,
    "exec": execution.run,
    "portforward": port_forward.forward,
}


class PodAccess(execution.PodAccess, port_forward.PodPorts, Protocol):
    """What the node agent does for clients."""


class Objects:
    """Answers them."""

    def __init__(self, registry: Registry, access: PodAccess | None) -> None:
        self._registry = registry
        self._verbs = registry.verbs
        self._access = access

    async def answer(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Raises ApiProblem."""
        stored, key = self._registry.resources.behind(target.resource), (target.namespace, target.name)
        if target.subresource in _STREAMED and self._access is not None:
            return await _STREAMED[target.subresource](self._access, request, self._verbs.existing(stored, key))
        match request.method, target.subresource:
            case "POST", "token":
                return await self._token(request, stored, key)
            case "POST", "eviction":
                options = Options.parse((await bodies(request)).get("deleteOptions") or {}, request.query)
                await self._verbs.delete(stored, key, options, calls(self._registry, request))
                return reply(_success(), status=201)
            case "GET", "scale":
                return reply(_scale(self._verbs.existing(stored, key)))
            case "PUT" | "PATCH", "scale":
                return await self._rescale(request, stored, key)
            case "GET", _:
                return reply(self._showing(request, target).one(self._verbs.existing(stored, key)))
            case "PUT", _:
                return await self._replace(request, target, stored, key)
            case "PATCH", _:
                return await self._patch(request, target, stored, key)
            case "DELETE", "":
                return await self._delete(request, stored, key)
            case _:
                raise not_allowed()

    async def _replace(self, request: web.Request, target: Target, stored: Resource, key: Key) -> web.Response:
        call, body = calls(self._registry, request, target.subresource), to_core(await bodies(request))
        found = await self._verbs.change(stored, key, lambda _: body, call)
        return reply(self._showing(request, target).one(found), call)

    async def _patch(self, request: web.Request, target: Target, stored: Resource, key: Key) -> web.Response:
        kind = request.content_type
        call = calls(self._registry, request, target.subresource, patched=True)
        body = await bodies(request)
        if kind == APPLY:
            if "fieldManager" not in request.query:
                said = "fieldManager: Required value: is required for apply patch"
                raise invalid("PatchOptions.meta.k8s.io", "", [said])
            found, new = await self._verbs.apply(stored, key, body, call)
            return reply(self._showing(request, target).one(found), call, status=201 if new else 200)
        change = _PATCHES.get(kind)
        if change is None or (kind == _STRATEGIC and stored.definition is not None):
            accepted = ", ".join((*_PATCHES, APPLY))
            message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
            raise ApiProblem(415, "UnsupportedMediaType", message)

        def make(old: Json) -> Json:
            shown = to_group(old) if target.resource != stored else old
            changed = change(shown, body)
            if not isinstance(changed, dict):
                raise bad_request("the patch leaves no object")
            return to_core(changed)

        found = await self._verbs.change(stored, key, make, call)
        return reply(self._showing(request, target).one(found), call)

    async def _delete(self, request: web.Request, stored: Resource, key: Key) -> web.Response:
        body, call = await bodies(request), calls(self._registry, request)
        dry = call.dry_run or "All" in (body.get("dryRun") or ())
        options = Options.parse(body, request.query)
        found, gone = await self._verbs.delete(stored, key, options, replace(call, dry_run=dry))
        if gone and stored.kind not in ("Pod", "Service"):
            details = {"name": key[1], "group": stored.group, "kind": stored.plural, "uid": found["metadata"]["uid"]}
            return reply(_success() | {"details": details}, call)
        return reply(found, call)

    async def _rescale(self, request: web.Request, stored: Resource, key: Key) -> web.Response:
        call, body = calls(self._registry, request), await bodies(request)
        change = _PATCHES.get(request.content_type, _as_given)

        def make(old: Json) -> Json:
            scale = change(_scale(old), body)
            version = scale["metadata"].get("resourceVersion", old["metadata"]["resourceVersion"])
            meta = old["metadata"] | {"resourceVersion": version}
            return old | {"metadata": meta, "spec": old["spec"] | {"replicas": scale["spec"].get("replicas", 0)}}

        return reply(_scale(await self._verbs.change(stored, key, make, call)), call)

    async def _token(self, request: web.Request, stored: Resource, key: Key) -> web.Response:
        self._verbs.existing(stored, key)
        body: Json = await bodies(request)
        token = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"} | body
        status = {"token": self._registry.tokens.issue(*key), "expirationTimestamp": _NEVER}
        return reply(token | {"status": status}, status=201)

    def _showing(self, request: web.Request, target: Target) -> Showing:
        stored = self._registry.resources.behind(target.resource)
        accept, include = request.headers.get("Accept", ""), request.query.get("includeObject", "")
        return Showing(target.resource, stored, accept, include)


def _as_given(_: Json, body: Any) -> Any:
    return body


def _success() -> Json:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}


def _scale(found: Json) -> Json:
    meta, spec = found["metadata"], found["spec"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    labels = ((spec.get("selector") or {}).get("matchLabels") or {}).items()
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in kept},
        "spec": {"replicas": spec.get("replicas", 0)},
        "status": {
            "replicas": (found.get("status") or {}).get("replicas", 0),
            "selector": ",".join(f"{name}={value}" for name, value in labels),
        },
    }
