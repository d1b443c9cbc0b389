"""The API server's bookkeeping in memory: names, versions, conflicts. It is what the writers of the controller talk to
in their unit tests; the behaviour of a real server is shown by tests/cluster."""

import asyncio
import json
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from handfast_operator.cluster.client import ApiError

Json = dict[str, Any]


class MemoryApi:
    """Objects by path; every write gets the next resourceVersion, and is told to who watches."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.calls: list[tuple[str, str]] = []
        self.watchers: list[Callable[[str, Json | None, int], None]] = []
        self.failures: list[Exception] = []
        """Raised by the next writes, in order."""
        self.lost_answers = 0
        """That many of the next writes are done, and their answers never come."""
        self.in_flight = 0
        self.most_in_flight = 0
        self._versions = count(100)

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Json:
        await self._turn("get", path)
        if path.rpartition("/")[2] in {"secrets", "configmaps"}:
            label, _, value = (params or {}).get("labelSelector", "").partition("=")
            inside = [each for name, each in self.objects.items() if name.startswith(path + "/")]
            return {"items": [copied(each) for each in inside if _selected(each, label, value)]}
        return copied(self._existing(path))

    async def create(self, path: str, body: Json) -> Json:
        await self._turn("create", path)
        where = f"{path}/{body['metadata']['name']}"
        if where in self.objects:
            raise ApiError(409, "AlreadyExists", f"{where} already exists")
        return self._answer(self._write(where, body, uid=f"uid-{where}"))

    async def replace(self, path: str, body: Json) -> Json:
        await self._turn("replace", path)
        known = self._existing(path)
        version = body["metadata"].get("resourceVersion")
        if version and version != known["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", f"{path} has been modified")
        if known.get("immutable"):
            raise ApiError(422, "Invalid", f"{path} is immutable")
        return self._answer(self._write(path, body, uid=known["metadata"]["uid"]))

    async def patch(self, path: str, body: Any) -> Json:
        """A merge patch, of the object or of its status."""
        await self._turn("patch", path)
        where = path.removesuffix("/status")
        known = self._existing(where)
        version = (body.get("metadata") or {}).get("resourceVersion")
        if version and version != known["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", f"{where} has been modified")
        return self._answer(self._write(where, merged(known, body), uid=known["metadata"]["uid"]))

    async def delete(self, path: str, *, uid: str = "") -> None:
        await self._turn("delete", path)
        self.remove(path)

    def put(self, path: str, body: Json, manager: str = "kubectl-edit") -> None:
        """Somebody else writes."""
        self._write(path, body, uid=str(body["metadata"].get("uid", "uid-foreign")), manager=manager)

    def remove(self, path: str) -> None:
        """Somebody deletes."""
        if self.objects.pop(path, None) is not None:
            self._tell(path, None, next(self._versions))

    def count(self, verb: str) -> int:
        return sum(1 for each, _ in self.calls if each == verb)

    async def _turn(self, verb: str, path: str) -> None:
        """A call takes a few turns of the loop, as a real one does, and may fail."""
        self.calls.append((verb, path))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        for _ in range(3):
            await asyncio.sleep(0)
        self.in_flight -= 1
        if verb != "get" and self.failures:
            raise self.failures.pop(0)

    def _answer(self, raw: Json) -> Json:
        if self.lost_answers:
            self.lost_answers -= 1
            raise TimeoutError
        return raw

    def _existing(self, path: str) -> Json:
        if path not in self.objects:
            raise ApiError(404, "NotFound", f"{path} not found")
        return self.objects[path]

    def _write(self, path: str, body: Json, *, uid: str, manager: str = "handfast-controller") -> Json:
        written, before = copied(body), self.objects.get(path, {})
        version = next(self._versions)
        fields = {name: manager for name, _ in (written.get("data") or {}).items()}
        for name, owner in before.get("_owners", {}).items():
            if name in fields and before["data"][name] == written["data"][name]:
                fields[name] = owner
        written["_owners"] = fields
        written["metadata"] |= {"resourceVersion": str(version), "uid": uid, "managedFields": _managed(fields)}
        self.objects[path] = written
        self._tell(path, written, version)
        return copied(written)

    def _tell(self, path: str, body: Json | None, version: int) -> None:
        for watcher in self.watchers:
            watcher(path, copied(body) if body is not None else None, version)


def copied(body: Json) -> Json:
    """Nobody changes an object but by writing it."""
    made: Json = json.loads(json.dumps(body))
    return made


def merged(known: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    made = dict(known) if isinstance(known, dict) else {}
    for name, value in patch.items():
        made[name] = merged(made.get(name), value)
        if value is None:
            del made[name]
    return made


def _managed(fields: Mapping[str, str]) -> list[Json]:
    return [
        {"manager": owner, "fieldsV1": {"f:data": {f"f:{name}": {} for name, each in fields.items() if each == owner}}}
        for owner in sorted(set(fields.values()))
    ]


def _selected(raw: Json, label: str, value: str) -> bool:
    labels = raw["metadata"].get("labels") or {}
    return not label or (label in labels and (not value or labels[label] == value))
