"""Requests to a collection: list, watch, create, and delete all."""

import base64
import json
from typing import Any, Final

from aiohttp import web

from handfast_lab.api.deletion import Options
from handfast_lab.api.events import to_core
from handfast_lab.api.problems import ApiProblem, bad_request, invalid, not_allowed
from handfast_lab.api.registry import Registry
from handfast_lab.api.replies import bodies, calls, reply
from handfast_lab.api.requests import Target, flag
from handfast_lab.api.selection import field_selector, label_selector
from handfast_lab.api.showing import Showing
from handfast_lab.api.store import Key
from handfast_lab.api.watching import Watch, events

Json = dict[str, Any]
_LASTS_S: Final = 1800.0
"""Seconds after which a watch ends whose client gives no `timeoutSeconds`."""


class Collections:
    """Answers them."""

    def __init__(self, registry: Registry, bookmark_s: float) -> None:
        self._registry = registry
        self._store = registry.store
        self._bookmark_s = bookmark_s

    async def answer(self, request: web.Request, target: Target) -> web.StreamResponse:
        match request.method:
            case "GET" if flag(request.query, "watch"):
                return await self._watch(request, target)
            case "GET":
                return self._list(request, target)
            case "POST":
                return await self._create(request, target)
            case "DELETE":
                return await self._delete_all(request, target)
            case _:
                raise not_allowed()

    def _selected(self, request: web.Request, target: Target) -> Any:
        stored = self._registry.resources.behind(target.resource)
        labels = label_selector(request.query.get("labelSelector", ""))
        fields = field_selector(request.query.get("fieldSelector", ""), stored)
        return lambda each: labels(each["metadata"].get("labels") or {}) and fields(each)

    def _list(self, request: web.Request, target: Target) -> web.Response:
        query, stored = request.query, self._registry.resources.behind(target.resource)
        selects = self._selected(request, target)
        found = [each for each in self._store.all(stored.name, target.namespace) if selects(each)]
        version, after = self._continued(stored.name, query.get("continue", ""))
        if after is not None:
            found = [each for each in found if _key(each) > after]
        meta: Json = {"resourceVersion": str(version)}
        limit = int(query.get("limit") or 0)
        if limit and len(found) > limit:
            meta |= {"continue": _token(version, _key(found[limit - 1]))}
            if "labelSelector" not in query and "fieldSelector" not in query:
                meta["remainingItemCount"] = len(found) - limit
            found = found[:limit]
        return reply(self._showing(request, target).many(found, meta))

    def _continued(self, resource: str, token: str) -> tuple[int, Key | None]:
        """Where a page begins: the version of the first one, so that a watch misses nothing that came in between."""
        if not token:
            return self._store.version, None
        try:
            version, namespace, name = json.loads(base64.urlsafe_b64decode(token))
        except ValueError as error:
            raise bad_request(f"continue key is not valid: {error}") from error
        try:
            self._store.since(resource, version)
        except ApiProblem as problem:
            message = (
                "The provided continue parameter is too old to display a consistent list result. You can start a new"
                " list without the continue parameter."
            )
            raise ApiProblem(410, "Expired", message) from problem
        return version, (namespace, name)

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        query, stored = request.query, self._registry.resources.behind(target.resource)
        initial, since = query.get("sendInitialEvents"), query.get("resourceVersion") or "0"
        if initial is not None and query.get("resourceVersionMatch") != "NotOlderThan":
            said = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            raise invalid("ListOptions.meta.k8s.io", "", [f"resourceVersionMatch: Forbidden: {said}"])
        if not since.isdigit():
            said = f'resourceVersion: Invalid value: "{since}": strconv.ParseUint: parsing "{since}": invalid syntax'
            raise invalid("ListOptions.meta.k8s.io", "", [said])
        from_start = initial == "true" if initial is not None else since == "0"
        watch = Watch(
            stored.name,
            target.namespace,
            self._selected(request, target),
            None if from_start else int(since) or self._store.version,
            flag(query, "allowWatchBookmarks"),
            initial == "true",
            float(query.get("timeoutSeconds") or _LASTS_S),
            lambda: request.transport is not None,
        )
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        showing = self._showing(request, target)
        try:
            async for event in events(self._store, watch, showing, self._bookmark_s):
                await response.write(json.dumps(event).encode() + b"\n")
            await response.write_eof()
        except ConnectionError:
            pass  # the client has left
        return response

    async def _create(self, request: web.Request, target: Target) -> web.Response:
        call = calls(self._registry, request)
        body = to_core(await bodies(request))
        stored = self._registry.resources.behind(target.resource)
        found = await self._registry.verbs.create(stored, target.namespace, body, call)
        return reply(self._showing(request, target).one(found), call, status=201)

    async def _delete_all(self, request: web.Request, target: Target) -> web.Response:
        call, options = calls(self._registry, request), Options.parse(await bodies(request), request.query)
        stored = self._registry.resources.behind(target.resource)
        selects = self._selected(request, target)
        found = [each for each in self._store.all(stored.name, target.namespace) if selects(each)]
        for each in found:
            try:
                await self._registry.verbs.delete(stored, _key(each), options, call)
            except ApiProblem as problem:
                if problem.code != 404:
                    raise
        meta = {"resourceVersion": str(self._store.version)}
        return reply(self._showing(request, target).many(found, meta), call)

    def _showing(self, request: web.Request, target: Target) -> Showing:
        stored = self._registry.resources.behind(target.resource)
        accept, include = request.headers.get("Accept", ""), request.query.get("includeObject", "")
        return Showing(target.resource, stored, accept, include)


def _key(found: Json) -> Key:
    return found["metadata"].get("namespace", ""), found["metadata"]["name"]


def _token(version: int, last: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps([version, *last]).encode()).decode()
