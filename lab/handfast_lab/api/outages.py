"""What a bad day does to an API server, on demand: it goes away, and its etcd is restored from a copy.

Asked for under /lab, which no real server has. The one rule: it happens as clients see it happen. Connections break,
watches too; after a restoration the versions of objects go back, and are given a second time.
"""

from collections.abc import Callable

from handfast_lab.api.problems import ApiProblem
from handfast_lab.api.registry import Registry
from handfast_lab.api.store import Snapshot

PATH = "/lab/"


class Outages:
    """Of one server."""

    def __init__(self, registry: Registry, cut: Callable[[], None]) -> None:
        """`cut` breaks all connections."""
        self._registry = registry
        self._cut = cut
        self._copies = dict[str, Snapshot]()
        self.away = False
        """Whether nobody else is answered."""

    def act(self, path: str) -> None:
        """`away`, `back`, `save/NAME` or `restore/NAME`. Raises ApiProblem."""
        match path.removeprefix(PATH).split("/"):
            case ["away"]:
                self.away = True
                self._cut()
            case ["back"]:
                self.away = False
            case ["save", name]:
                self._copies[name] = self._registry.store.snapshot()
            case ["restore", name] if name in self._copies:
                self._registry.restore(self._copies[name])
                self._cut()
            case _:
                raise ApiProblem(404, "NotFound", f"the lab knows no {path}: away, back, save/NAME or restore/NAME")
