"""The policy of one pod, compiled: what its sidecar needs to judge a connection, and nothing else.

The operator folds cluster, namespace and workload policies into this; the sidecar only looks things up. Every rule
carries the name of the object it comes from, so that a refusal can name it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from handfast_sidecar.config.ports import is_port, port_number
from handfast_sidecar.errors import BadInput
from handfast_sidecar.policy.authorisation import RuleSet
from handfast_sidecar.policy.limits import Limits
from handfast_sidecar.policy.outgoing import ALL_GOES_OUT, OutboundPolicy

DEFAULT_ORIGIN: Final = "default"
NO_RULES: Final = RuleSet(())


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


class Enforcement(StrEnum):
    """What becomes of a refusal."""

    ENFORCE = "Enforce"
    AUDIT = "Audit"
    """It is told and counted, and the connection passes."""


@dataclass(frozen=True, slots=True)
class EnforcementRule:
    """The word, and the object that said it."""

    enforcement: Enforcement = Enforcement.ENFORCE
    origin: str = DEFAULT_ORIGIN


ENFORCED: Final = EnforcementRule()


@dataclass(frozen=True, slots=True)
class AllowRules:
    """Who may connect: nobody else, with the object that says so, for the refusals that come of it."""

    rules: RuleSet
    origin: str

    def next_expiry(self, now: float) -> int | None:
        """When the next of its rules ends, in Unix seconds: who was let in by it may not stay. None: none does."""
        return self.rules.next_end(now)


@dataclass(frozen=True, slots=True)
class EffectivePolicy:
    """What one pod accepts and sends: modes, who may connect, what becomes of a refusal, limits, and what goes out."""

    default: ModeRule = ModeRule(Mode.PERMISSIVE)
    ports: Mapping[int, ModeRule] = field(default_factory=dict)
    """Ports whose mode differs."""
    foreign: ForeignRule = ForeignRule()
    allow: AllowRules | None = None
    """None: every identity of the trust domain."""
    deny: RuleSet = NO_RULES
    enforcement: EnforcementRule = ENFORCED
    limits: Limits | None = None
    """None: nobody set any."""
    outbound: OutboundPolicy = ALL_GOES_OUT

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
        if self.allow is not None:
            document["allow"] = {"rules": self.allow.rules.to_json(), "from": self.allow.origin}
        if self.deny.rules:
            document["deny"] = self.deny.to_json()
        if self.enforcement != ENFORCED:
            document["enforcement"] = {"value": self.enforcement.enforcement.value, "from": self.enforcement.origin}
        if self.limits is not None:
            document["limits"] = self.limits.to_json()
        if self.outbound != ALL_GOES_OUT:
            document["outbound"] = self.outbound.to_json()
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
            allow=_allow_from_json(document["allow"]) if "allow" in document else None,
            deny=RuleSet.from_json(document["deny"], "policy.deny") if "deny" in document else NO_RULES,
            enforcement=_enforcement_from_json(document["enforcement"]) if "enforcement" in document else ENFORCED,
            limits=Limits.from_json(document["limits"]) if "limits" in document else None,
            outbound=OutboundPolicy.from_json(document["outbound"]) if "outbound" in document else ALL_GOES_OUT,
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
    if not isinstance(ports, list) or not all(map(is_port, ports)):
        raise BadInput(f"policy.foreign.ports: expected a list of port numbers, found {ports!r}")
    try:
        oldest = TlsVersion(document["minVersion"])
    except (KeyError, ValueError):
        raise BadInput(
            f"policy.foreign.minVersion: expected one of {', '.join(TlsVersion)}, found {document.get('minVersion')!r}"
        ) from None
    return ForeignRule(frozenset(ports), oldest, str(document.get("from", DEFAULT_ORIGIN)))


def _allow_from_json(document: Any) -> AllowRules:
    if not isinstance(document, dict):
        raise BadInput(f"policy.allow: expected an object, found {type(document).__name__}")
    return AllowRules(
        RuleSet.from_json(document.get("rules"), "policy.allow.rules", may_end=True),
        str(document.get("from", DEFAULT_ORIGIN)),
    )


def _enforcement_from_json(document: Any) -> EnforcementRule:
    try:
        return EnforcementRule(Enforcement(document["value"]), str(document.get("from", DEFAULT_ORIGIN)))
    except (KeyError, TypeError, ValueError):
        raise BadInput(
            f"policy.enforcement.value: expected one of {', '.join(Enforcement)}, found {document!r:.80}"
        ) from None


def _port(text: str) -> int:
    port = port_number(text)
    if port is None:
        raise BadInput(f"policy.ports: {text!r} is no port number")
    return port
