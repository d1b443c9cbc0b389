"""The API server without HTTP: what the lab's own parts call in its process (`port.Api`), and what HTTP stands on."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Network
from typing import Any, Final

from handfast_lab.api.accounts import Tokens
from handfast_lab.api.admission import Caller
from handfast_lab.api.calls import ADMINISTRATOR, IGNORE, Call
from handfast_lab.api.defaults import Network
from handfast_lab.api.deletion import Options, timestamp
from handfast_lab.api.events import to_core
from handfast_lab.api.garbage import Garbage
from handfast_lab.api.patching import merge_patch
from handfast_lab.api.port import Event
from handfast_lab.api.resources import Resources
from handfast_lab.api.store import HISTORY, Change, Key, Snapshot, Store
from handfast_lab.api.verbs import Verbs
from handfast_lab.api.writing import created, received

Json = dict[str, Any]
_US: Final = Call(manager="handfast-lab", strictness=IGNORE)
_FIRST: Final = ("default", "kube-system", "kube-public")
_RANGES: Final = (IPv4Network("10.96.0.0/16"),)


class Registry:
    """All objects of a cluster; implements `port.Api`."""

    def __init__(
        self,
        caller: Caller,
        *,
        service_ranges: Sequence[Network] = _RANGES,
        root_certificate: str = "",
        history: int = HISTORY,
    ) -> None:
        """`root_certificate`: PEM of who signed the API server's own, for the `kube-root-ca.crt` of each namespace."""
        self.store = Store(history)
        self.resources = Resources()
        self.tokens = Tokens()
        self.verbs = Verbs(self.store, self.resources, caller, service_ranges)
        self._root = root_certificate
        self._garbage = Garbage(self.verbs)
        self._restored: set[Callable[[], None]] = set()
        self.store.listen("namespaces", self._furnish)
        for name in _FIRST:
            meta = {"name": name, "labels": {"kubernetes.io/metadata.name": name}}
            self._plant({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})

    async def run(self) -> None:
        """Collect garbage, until cancelled."""
        await self._garbage.run()

    def get(self, resource: str, namespace: str, name: str) -> Json:
        found = self.verbs.existing(self.resources.named(resource), (namespace, name))
        return copy.deepcopy(found)

    def list(self, resource: str, namespace: str = "", *, labels: Mapping[str, str] | None = None) -> list[Json]:
        wanted = (labels or {}).items()
        return [
            copy.deepcopy(each)
            for each in self.store.all(self.resources.named(resource).name, namespace)
            if wanted <= (each["metadata"].get("labels") or {}).items()
        ]

    async def create(self, body: Json, *, user: str = ADMINISTRATOR) -> Json:
        resource = self.resources.behind(self.resources.of(body))
        namespace = (body["metadata"].get("namespace") or "default") if resource.namespaced else ""
        stored = await self.verbs.create(resource, namespace, to_core(copy.deepcopy(body)), replace(_US, user=user))
        return copy.deepcopy(stored)

    async def update(self, body: Json, *, subresource: str = "") -> Json:
        resource = self.resources.of(body)
        given, call = copy.deepcopy(body), replace(_US, subresource=subresource)
        key = (given["metadata"].get("namespace", ""), given["metadata"]["name"])
        return copy.deepcopy(await self.verbs.change(resource, key, lambda _: given, call))

    async def patch(self, resource: str, namespace: str, name: str, patch: Json, *, subresource: str = "") -> Json:
        given, call = copy.deepcopy(patch), replace(_US, subresource=subresource)
        stored = await self.verbs.change(
            self.resources.named(resource), (namespace, name), lambda old: merge_patch(old, given), call
        )
        return copy.deepcopy(stored)

    async def delete(self, resource: str, namespace: str, name: str, *, grace_s: int | None = None) -> None:
        await self.verbs.delete(self.resources.named(resource), (namespace, name), Options(grace_s), _US)

    def watch(self, resource: str, namespace: str = "", *, name: str = "") -> AsyncIterator[Event]:
        found = self.resources.named(resource)
        first = [Event("ADDED", each) for each in self.store.all(found.name, namespace)]
        return self._follow(found.name, namespace, name, first, self.store.version)

    def restore(self, snapshot: Snapshot) -> None:
        """Be as then. The lab's own parts see the difference, as parts of a cluster do that are started again."""
        self.store.restore(snapshot)
        for wake in tuple(self._restored):
            wake()

    async def _follow(
        self, resource: str, namespace: str, name: str, first: Sequence[Event], version: int
    ) -> AsyncIterator[Event]:
        woken = asyncio.Event()
        stop = self.store.listen(resource, lambda _: woken.set())
        self._restored.add(woken.set)
        restored = self.store.restored
        events, told = first, dict[Key, Json]()
        try:
            while True:
                for event in events:
                    meta = event.object["metadata"]
                    if namespace in ("", meta.get("namespace")) and name in ("", meta["name"]):
                        told[_key(event.object)] = event.object
                        if event.type == "DELETED":
                            del told[_key(event.object)]
                        yield Event(event.type, copy.deepcopy(event.object))
                woken.clear()
                if self.store.restored != restored:
                    restored, version = self.store.restored, self.store.version
                    events = _difference(told, self.store.all(resource, namespace))
                    continue
                changes = self.store.since(resource, version)
                events = [Event(each.type, each.object) for each in changes]
                if changes:
                    version = changes[-1].version
                else:
                    await woken.wait()
        finally:
            stop()
            self._restored.discard(woken.set)

    def _furnish(self, change: Change) -> None:
        """What a namespace has from its first moment: in a cluster, controllers bring it a little later."""
        if change.type != "ADDED":
            return
        meta = {"namespace": change.object["metadata"]["name"]}
        self._plant({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta | {"name": "default"}})
        if self._root:
            root = {"metadata": meta | {"name": "kube-root-ca.crt"}, "data": {"ca.crt": self._root}}
            self._plant({"apiVersion": "v1", "kind": "ConfigMap"} | root)

    def _plant(self, body: Json) -> None:
        """Store what needs nobody's leave."""
        resource, namespace = self.resources.of(body), body["metadata"].get("namespace", "")
        new = created(resource, received(resource, body, namespace), timestamp(datetime.now(UTC)))
        self.store.put(resource.name, (namespace, body["metadata"]["name"]), new)


def _difference(told: Mapping[Key, Json], now: Sequence[Json]) -> list[Event]:
    """From what was told to what is there."""
    there = {_key(each): each for each in now}
    gone = [Event("DELETED", each) for key, each in told.items() if _uid(there.get(key)) != _uid(each)]
    changed = [Event("MODIFIED" if key in told else "ADDED", each) for key, each in there.items()
               if told.get(key) is not each]  # fmt: skip
    return [*gone, *changed]


def _key(found: Json) -> Key:
    return found["metadata"].get("namespace", ""), found["metadata"]["name"]


def _uid(found: Json | None) -> str:
    return found["metadata"]["uid"] if found is not None else ""
