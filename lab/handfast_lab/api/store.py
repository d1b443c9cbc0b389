"""Objects in memory, versioned as etcd does: one counter for all, and a history that watches read.

The one rule: what is stored is never changed in place, so readers need no copies until they hand them on.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, NamedTuple

from handfast_lab.api.problems import expired

Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name; the namespace of a cluster-scoped object is empty."""
EVERYTHING: Final = ""
"""To listen to all kinds."""
FIRST: Final = 100
"""The version that a new store has: what came before is forgotten, as after a restart of the real server."""
HISTORY: Final = 10_000
"""Changes per kind that a watch may be behind; more cost memory, fewer make clients list again."""


class Change(NamedTuple):
    """What happened at a version."""

    version: int
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Json
    before: Json | None


Listener = Callable[[Change], None]


class Snapshot(NamedTuple):
    """All that was stored at a version: what a backup of etcd holds."""

    version: int
    objects: dict[str, dict[Key, Json]]


class Store:
    """All objects of all kinds."""

    def __init__(self, history: int = HISTORY) -> None:
        self.version = FIRST
        self.restored = 0
        """How often it was set back."""
        self._first = FIRST
        self._objects: dict[str, dict[Key, Json]] = {}
        self._history: dict[str, deque[Change]] = {}
        self._forgotten: dict[str, int] = {}
        self._listeners: dict[str, set[Listener]] = {}
        self._size = history

    def get(self, resource: str, key: Key) -> Json | None:
        return self._objects.get(resource, {}).get(key)

    def all(self, resource: str, namespace: str = "") -> list[Json]:
        """By namespace and name."""
        found = sorted(self._objects.get(resource, {}).items())
        return [each for (where, _), each in found if not namespace or where == namespace]

    def everything(self) -> Iterator[tuple[str, Key, Json]]:
        """A snapshot of all kinds."""
        for resource, objects in tuple(self._objects.items()):
            for key, each in tuple(objects.items()):
                yield resource, key, each

    def put(self, resource: str, key: Key, given: Json) -> Json:
        """Store it under a new version; what was stored."""
        before = self.get(resource, key)
        stored = self._versioned(given)
        self._objects.setdefault(resource, {})[key] = stored
        self._tell(resource, Change(self.version, "MODIFIED" if before else "ADDED", stored, before))
        return stored

    def remove(self, resource: str, key: Key) -> Json:
        """Take it out; its last form, under the version of its end."""
        before = self._objects[resource].pop(key)
        last = self._versioned(before)
        self._tell(resource, Change(self.version, "DELETED", last, before))
        return last

    def snapshot(self) -> Snapshot:
        """What `restore` takes."""
        return Snapshot(self.version, {resource: dict(objects) for resource, objects in self._objects.items()})

    def restore(self, snapshot: Snapshot) -> None:
        """Be as then, the version included, and remember nothing before it: etcd restored and the server restarted.

        A watch from a version that is yet to come is told nothing before that comes, as by the real server.
        """
        self.version = self._first = snapshot.version
        self._objects = {resource: dict(objects) for resource, objects in snapshot.objects.items()}
        self._history, self._forgotten = {}, {}
        self.restored += 1

    def since(self, resource: str, version: int) -> list[Change]:
        """What came after a version. Raises ApiProblem (410) where that is forgotten."""
        oldest = self._forgotten.get(resource, self._first)
        if version < oldest:
            raise expired(version, oldest)
        found: list[Change] = []
        for change in reversed(self._history.get(resource, ())):
            if change.version <= version:
                break
            found.append(change)
        return found[::-1]

    def listen(self, resource: str, listener: Listener) -> Callable[[], None]:
        """Call `listener` after each change of a kind (or EVERYTHING); the answer ends that."""
        listeners = self._listeners.setdefault(resource, set())
        listeners.add(listener)
        return lambda: listeners.discard(listener)

    def _versioned(self, given: Json) -> Json:
        self.version += 1
        return given | {"metadata": given["metadata"] | {"resourceVersion": str(self.version)}}

    def _tell(self, resource: str, change: Change) -> None:
        history = self._history.setdefault(resource, deque())
        history.append(change)
        if len(history) > self._size:
            self._forgotten[resource] = history.popleft().version
        for listener in (*self._listeners.get(resource, ()), *self._listeners.get(EVERYTHING, ())):
            listener(change)
