"""What a reflector has learnt, and who wants to hear of changes. Pure: the reflector writes, everybody else reads."""

from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from handfast_operator.cluster.objects import Key


class Stored(Protocol):
    """An object with a name and a version."""

    @property
    def key(self) -> Key: ...
    @property
    def resource_version(self) -> int: ...


T = TypeVar("T", bound=Stored)
Listener = Callable[[T | None, T | None], None]
"""Called with the object before and after a change; None where there was, or is, none."""


class Store(Generic[T]):
    """The objects of one kind, as of `revision`."""

    def __init__(self) -> None:
        self._objects: dict[Key, T] = {}
        self._listeners: list[Listener[T]] = []
        self.revision = 0
        """The highest resourceVersion seen, deletions and bookmarks included."""
        self.synced = False
        """Whether the first list is complete."""

    def get(self, namespace: str, name: str) -> T | None:
        return self._objects.get((namespace, name))

    def __iter__(self) -> Iterator[T]:
        return iter(self._objects.values())

    def __len__(self) -> int:
        return len(self._objects)

    def subscribe(self, listener: Listener[T]) -> None:
        """Hear of every later change; what is already here is replayed at once as added."""
        self._listeners.append(listener)
        for each in list(self._objects.values()):
            listener(None, each)

    def put(self, item: T) -> None:
        """Take an added or modified object."""
        before = self._objects.get(item.key)
        self._objects[item.key] = item
        self.seen(item.resource_version)
        self._tell(before, item)

    def remove(self, key: Key, revision: int) -> None:
        """Forget a deleted object; unknown ones are ignored."""
        self.seen(revision)
        before = self._objects.pop(key, None)
        if before is not None:
            self._tell(before, None)

    def replace(self, items: list[T], revision: int) -> None:
        """Take a complete list: what is not in it is gone, what did not change is not told."""
        kept = {item.key for item in items}
        for key in [key for key in self._objects if key not in kept]:
            self.remove(key, revision)
        for item in items:
            # Not by its version alone: a history that went back gives the same one to something else.
            if self._objects.get(item.key) != item:
                self.put(item)
        self.revision = revision
        self.synced = True

    def seen(self, revision: int) -> None:
        """A bookmark, or the version of a deletion."""
        self.revision = max(self.revision, revision)

    def _tell(self, before: T | None, after: T | None) -> None:
        for listener in self._listeners:
            listener(before, after)
