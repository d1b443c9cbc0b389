"""What a container sees as its files: the machine's, read-only, with the volumes between them. Pure.

A container's root is a fresh tmpfs. A directory of the machine appears on it by one bind mount, unless something has to
be put into it or through it: such a directory is made anew, and what is in it is bound one by one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

FRESH: Final = {"/dev": 0o755, "/dev/pts": 0o755, "/dev/shm": 0o1777, "/proc": 0o555, "/run": 0o755, "/tmp": 0o1777}  # noqa: S108
"""A container has its own of these."""
_OTHERS_ENTER: Final = 0o001
_MOST_LINKS: Final = 40
"""As the kernel's own limit (path_resolution(7))."""

Step = tuple[Literal["dir", "link", "bind"], str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands at a path of the machine."""

    kind: Literal["dir", "link", "file"]
    mode: int = 0o755
    target: str = ""


class Tree(Protocol):
    """The machine's files."""

    def entry(self, path: str) -> Entry | None:
        """None: nothing is there."""
        ...

    def names(self, path: str) -> Iterable[str]:
        """What a directory holds."""
        ...


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or directory of the agent, as a container sees it."""

    source: str
    target: str
    read_only: bool = False


def resolve(tree: Tree, path: str) -> str:
    """The path without symbolic links, also where it does not exist yet. Raises OSError for a loop."""
    done: list[str] = []
    left = path.split("/")[::-1]
    links = 0
    while left:
        part = left.pop()
        if part in ("", ".", ".."):
            done = done[:-1] if part == ".." else done
            continue
        here = "/" + "/".join([*done, part])
        entry = None if _within(here, FRESH) else tree.entry(here)
        if entry is None or entry.kind != "link":
            done.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(f"too many symbolic links in {path}")
        done = [] if entry.target.startswith("/") else done
        left.extend(entry.target.split("/")[::-1])
    return "/" + "/".join(done)


def plan(tree: Tree, mounts: Sequence[Mount], reach: Iterable[str]) -> tuple[list[Step], list[Mount]]:
    """Steps that make the root, and the mounts over it, outer ones first.

    `reach`: places of the machine that every user must get to, such as Python's: they are often in a home directory
    that others may not enter, and such a directory is made anew with the one way through it.
    """
    ways = [resolve(tree, each) for each in reach]
    placed = [Mount(each.source, resolve(tree, each.target), each.read_only) for each in mounts]
    placed += [Mount(way, way, read_only=True) for way in ways if _within(way, FRESH)]
    placed.sort(key=_depth)
    targets = [each.target for each in placed]
    made = {"/"}
    for target in targets:
        covered = any(_inside(target, other) for other in targets) or _within(target, FRESH)
        if not covered and tree.entry(target) is None:
            made.update(_parents(target))
    for place in [*ways, *targets]:
        closed = [] if _within(place, FRESH) else [each for each in _parents(place) if _closed(tree, each)]
        if closed:
            made.update(_parents(closed[-1]), closed)
    steps = list(_steps(tree, "/", made, ways))
    return steps + [("dir", path, mode) for path, mode in FRESH.items()], placed


def _steps(tree: Tree, directory: str, made: set[str], ways: Sequence[str]) -> Iterable[Step]:
    shut = _closed(tree, directory)
    for name in sorted(tree.names(directory)):
        path = f"{directory.rstrip('/')}/{name}"
        entry = tree.entry(path)
        if path in FRESH or entry is None:
            continue
        if path in made:
            yield "dir", path, 0o755 if _closed(tree, path) else entry.mode
            yield from _steps(tree, path, made, ways)
        elif shut and not any(path == way or _inside(way, path) for way in ways):
            continue
        elif entry.kind == "link":
            yield "link", path, entry.target
        else:
            yield "bind", path, path


def _closed(tree: Tree, path: str) -> bool:
    entry = tree.entry(path)
    return entry is not None and entry.kind == "dir" and not entry.mode & _OTHERS_ENTER


def _parents(path: str) -> list[str]:
    """Outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:count]) or "/" for count in range(1, len(parts))]


def _inside(path: str, outer: str) -> bool:
    return path.startswith(outer.rstrip("/") + "/")


def _within(path: str, places: Iterable[str]) -> bool:
    return any(path == each or _inside(path, each) for each in places)


def _depth(mount: Mount) -> tuple[int, str]:
    return mount.target.count("/"), mount.target
