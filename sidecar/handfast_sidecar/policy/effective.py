"""The policy of one pod, compiled: what its sidecar needs to judge a connection, and nothing else.

The operator folds cluster, namespace and workload policies into this; the sidecar only looks things up. Every rule
carries the name of the object it comes from, so that a refusal can name it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from handfast_sidecar.errors import BadInput

DEFAULT_ORIGIN: Final = "default"


class Mode(StrEnum):
    """What a port accepts."""

    STRICT = "Strict"
    """Tunnels only."""
    PERMISSIVE = "Permissive"
    """Tunnels, and plaintext, which is counted."""
    DISABLED = "Disabled"
    """Plaintext; peers do not open tunnels to it."""


@dataclass(frozen=True, slots=True)
class ModeRule:
    """A mode and the object that asked for it, such as `MTLSPolicy shop/orders`."""

    mode: Mode
    origin: str = DEFAULT_ORIGIN


class TlsVersion(StrEnum):
    """The oldest TLS that a foreign client may speak."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


@dataclass(frozen=True, slots=True)
class ForeignRule:
    """Ports on which clients without a sidecar may speak mutual TLS themselves, and the object that opened them."""

    ports: frozenset[int] = frozenset()
    min_version: TlsVersion = TlsVersion.TLS_1_3
    origin: str = DEFAULT_ORIGIN


@dataclass(frozen=True, slots=True)
class EffectivePolicy:
    """What one pod accepts: a mode, the ports that differ from it, and those that are open to foreign clients."""

    default: ModeRule = ModeRule(Mode.PERMISSIVE)
    ports: Mapping[int, ModeRule] = field(default_factory=dict)
    foreign: ForeignRule = ForeignRule()

    def rule_for(self, port: int) -> ModeRule:
        """The rule of a container port; a port entry beats the workload's mode."""
        return self.ports.get(port, self.default)

    def to_json(self) -> dict[str, Any]:
        """As written in config.json and sent by the directory (docs/protocol.md, "policy")."""
        document: dict[str, Any] = {
            **_rule_to_json(self.default),
            "ports": {str(port): _rule_to_json(rule) for port, rule in sorted(self.ports.items())},
        }
        if self.foreign != ForeignRule():
            document["foreign"] = {
                "ports": sorted(self.foreign.ports),
                "minVersion": self.foreign.min_version.value,
                "from": self.foreign.origin,
            }
        return document

    @classmethod
    def from_json(cls, document: Any) -> "EffectivePolicy":
        """Read what `to_json` wrote; raises BadInput, because an unreadable policy must never mean "allow"."""
        if not isinstance(document, dict):
            raise BadInput(f"policy: expected an object, found {type(document).__name__}")
        ports = document.get("ports", {})
        if not isinstance(ports, dict):
            raise BadInput(f"policy.ports: expected an object, found {type(ports).__name__}")
        return cls(
            default=_rule_from_json(document, "policy"),
            ports={_port(key): _rule_from_json(value, f"policy.ports.{key}") for key, value in ports.items()},
            foreign=_foreign_from_json(document["foreign"]) if "foreign" in document else ForeignRule(),
        )


def _rule_to_json(rule: ModeRule) -> dict[str, str]:
    return {"mode": rule.mode.value, "from": rule.origin}


def _rule_from_json(document: Any, where: str) -> ModeRule:
    if not isinstance(document, dict):
        raise BadInput(f"{where}: expected an object, found {type(document).__name__}")
    try:
        return ModeRule(Mode(document["mode"]), str(document.get("from", DEFAULT_ORIGIN)))
    except (KeyError, ValueError):
        raise BadInput(f"{where}.mode: expected one of {', '.join(Mode)}, found {document.get('mode')!r}") from None


def _foreign_from_json(document: Any) -> ForeignRule:
    if not isinstance(document, dict):
        raise BadInput(f"policy.foreign: expected an object, found {type(document).__name__}")
    ports = document.get("ports")
    if not isinstance(ports, list) or not all(type(port) is int and 0 < port < 65536 for port in ports):
        raise BadInput(f"policy.foreign.ports: expected a list of port numbers, found {ports!r}")
    try:
        oldest = TlsVersion(document["minVersion"])
    except (KeyError, ValueError):
        raise BadInput(
            f"policy.foreign.minVersion: expected one of {', '.join(TlsVersion)}, found {document.get('minVersion')!r}"
        ) from None
    return ForeignRule(frozenset(ports), oldest, str(document.get("from", DEFAULT_ORIGIN)))


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise BadInput(f"policy.ports: {text!r} is no port number")
    return int(text)
