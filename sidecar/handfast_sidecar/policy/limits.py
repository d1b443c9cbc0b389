"""How much a pod takes on: open connections and new ones, of all clients and of each, and handshakes. Pure.

Each limit carries the object that set it, because a refusal names it; a limit that nobody set is not there.
"""

from dataclasses import dataclass
from typing import Any, Final

from handfast_sidecar.errors import BadInput

MAX_LIMIT: Final = 1_000_000
"""Of each number: more than a sidecar can carry, and small enough to be counted with."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Connections that may be open at a time."""

    connections: int
    origin: str


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: so many a second, and `burst` at once after a silence."""

    per_second: int
    burst: int
    origin: str


@dataclass(frozen=True, slots=True)
class Share:
    """What all clients may have together, or each of them."""

    connections: Ceiling | None = None
    rate: Rate | None = None
    """New connections."""

    def __bool__(self) -> bool:
        return self.connections is not None or self.rate is not None


UNLIMITED: Final = Share()


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one pod; at least one of them is set."""

    total: Share = UNLIMITED
    client: Share = UNLIMITED
    """Of each client: an identity, or the address of one that has none."""
    handshakes: Rate | None = None
    """TLS handshakes that other pods begin at the mesh port; as many again of foreign clients."""

    def to_json(self) -> dict[str, Any]:
        """As in config.json (docs/protocol.md, "policy")."""
        document = _share_to_json(self.total)
        if self.client:
            document["perClient"] = _share_to_json(self.client)
        if self.handshakes is not None:
            document["handshakesPerSecond"] = {"value": self.handshakes.per_second, "from": self.handshakes.origin}
        return document

    @classmethod
    def from_json(cls, document: Any) -> "Limits":
        """Read what `to_json` wrote; raises BadInput: a limit that cannot be read must not be passed over."""
        where = "policy.limits"
        limits = cls(
            _share(document, where),
            _share(document["perClient"], f"{where}.perClient")
            if "perClient" in _object(document, where)
            else UNLIMITED,
            _rate(document, "handshakesPerSecond", where),
        )
        if limits == cls():
            raise BadInput(f"{where}: expected at least one limit")
        return limits


def _share_to_json(share: Share) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if share.connections is not None:
        document["maxConnections"] = {"value": share.connections.connections, "from": share.connections.origin}
    if share.rate is not None:
        document["connectionsPerSecond"] = {
            "value": share.rate.per_second,
            "burst": share.rate.burst,
            "from": share.rate.origin,
        }
    return document


def _share(document: Any, where: str) -> Share:
    said = _object(document, where).get("maxConnections")
    ceiling = None
    if said is not None:
        name = f"{where}.maxConnections"
        ceiling = Ceiling(_number(said, "value", name), _origin(said, name))
    return Share(ceiling, _rate(document, "connectionsPerSecond", where))


def _rate(document: Any, field: str, where: str) -> Rate | None:
    said, name = document.get(field), f"{where}.{field}"
    if said is None:
        return None
    per_second = _number(said, "value", name)
    return Rate(per_second, _number(said, "burst", name) if "burst" in said else per_second, _origin(said, name))


def _object(document: Any, where: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise BadInput(f"{where}: expected an object, found {type(document).__name__}")
    return document


def _number(document: Any, field: str, where: str) -> int:
    value = _object(document, where).get(field)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MAX_LIMIT:
        raise BadInput(f"{where}.{field}: expected a number from 1 to {MAX_LIMIT}, found {value!r:.80}")
    return value


def _origin(document: Any, where: str) -> str:
    origin = _object(document, where).get("from")
    if not isinstance(origin, str) or not origin:
        raise BadInput(f"{where}.from: expected the name of the object that set it")
    return origin
