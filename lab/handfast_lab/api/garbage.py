"""What goes because something else went: dependents of an owner, and the content of a namespace.

The one rule: level, not edge. Each change that may free something wakes a look at everything, which is idempotent.
"""

import asyncio
import logging
from typing import Any, Final

from handfast_lab.api.calls import Call
from handfast_lab.api.deletion import FOREGROUND, ORPHAN, Options
from handfast_lab.api.problems import ApiProblem
from handfast_lab.api.resources import Resource
from handfast_lab.api.store import EVERYTHING, Change, Key
from handfast_lab.api.verbs import Verbs

log = logging.getLogger(__name__)

Json = dict[str, Any]
_GATHER_S: Final = 0.05
"""Seconds between looks: more leaves garbage longer, less costs time when much is deleted at once."""
_COLLECTOR: Final = Call("system:serviceaccount:kube-system:generic-garbage-collector", "kube-controller-manager")
_OUR_FINALIZERS: Final = frozenset({FOREGROUND, ORPHAN})


class Garbage:
    """Collects it."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._store = verbs.store
        self._woken = asyncio.Event()
        self._store.listen(EVERYTHING, self._hear)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            await self._look()
            await asyncio.sleep(_GATHER_S)

    def _hear(self, change: Change) -> None:
        meta = change.object["metadata"]
        if change.type == "DELETED" or "deletionTimestamp" in meta or meta.get("ownerReferences"):
            self._woken.set()

    async def _look(self) -> None:
        by_name = {each.name: each for each in self._verbs.resources}
        found = [(by_name[name], key, each) for name, key, each in self._store.everything() if name in by_name]
        dependents: dict[str, list[tuple[Resource, Key, Json]]] = {}
        for entry in found:
            for reference in entry[2]["metadata"].get("ownerReferences") or ():
                dependents.setdefault(reference["uid"], []).append(entry)
        alive = {each["metadata"]["uid"] for _, _, each in found}
        for resource, key, each in found:
            meta = each["metadata"]
            if "deletionTimestamp" in meta:
                await self._let_go(resource, key, each, dependents.get(meta["uid"], []))
            elif (owners := meta.get("ownerReferences")) and not any(one["uid"] in alive for one in owners):
                await self._delete(resource, key)
        for _, (_, name), each in found:
            if each["kind"] == "Namespace" and "deletionTimestamp" in each["metadata"]:
                await self._empty(name, [entry for entry in found if entry[1][0] == name])

    async def _let_go(self, resource: Resource, key: Key, owner: Json, dependents: list[tuple[Resource, Key, Json]]
                      ) -> None:  # fmt: skip
        """Do what a finalizer of ours stands for, then take it off."""
        finalizers = owner["metadata"].get("finalizers") or []
        if not _OUR_FINALIZERS & set(finalizers):
            return
        for other, where, each in dependents:
            if ORPHAN in finalizers:
                await self._disown(other, where, owner["metadata"]["uid"])
            elif "deletionTimestamp" not in each["metadata"]:
                await self._delete(other, where)
        if ORPHAN in finalizers or not dependents:
            kept = [each for each in finalizers if each not in _OUR_FINALIZERS]
            await self._change(resource, key, {"finalizers": kept})

    async def _disown(self, resource: Resource, key: Key, uid: str) -> None:
        found = self._store.get(resource.name, key)
        if found is not None:
            kept = [each for each in found["metadata"].get("ownerReferences") or () if each["uid"] != uid]
            await self._change(resource, key, {"ownerReferences": kept})

    async def _empty(self, name: str, content: list[tuple[Resource, Key, Json]]) -> None:
        """Pods go when their node lets them; the namespace goes last."""
        for resource, key, each in content:
            if "deletionTimestamp" not in each["metadata"]:
                await self._delete(resource, key)
        if not any(self._store.all(each.name, name) for each in self._verbs.resources if each.namespaced):
            self._verbs.finish(self._verbs.resources.named("namespaces"), ("", name))

    async def _delete(self, resource: Resource, key: Key) -> None:
        try:
            await self._verbs.delete(resource, key, Options(), _COLLECTOR)
        except ApiProblem as problem:
            if problem.code != 404:
                log.warning("garbage stays", extra={"resource": resource.name, "key": key, "problem": problem.message})

    async def _change(self, resource: Resource, key: Key, meta: Json) -> None:
        try:
            await self._verbs.change(resource, key, lambda old: old | {"metadata": old["metadata"] | meta}, _COLLECTOR)
        except ApiProblem as problem:
            if problem.code != 404:
                log.warning("garbage stays", extra={"resource": resource.name, "key": key, "problem": problem.message})
