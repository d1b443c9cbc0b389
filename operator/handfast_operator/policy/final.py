"""What a cluster policy makes final by `overridable: false`: its mode, ports, enforcement and outbound. Pure.

Whoever runs the cluster sets a floor with it that no object of a namespace can lower: neither a policy, nor a port
entry, nor an exception, nor an annotation by which a pod's traffic goes around its sidecar.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from handfast_operator.resources.policies import ClusterMtlsPolicy, Policy
from handfast_sidecar.policy.effective import Mode
from handfast_sidecar.policy.outgoing import Outgoing
from handfast_sidecar.wellknown import (
    ANNOTATION_INTERCEPTION,
    ANNOTATION_SKIP_INBOUND_PORTS,
    ANNOTATION_SKIP_OUTBOUND_CIDRS,
    ANNOTATION_SKIP_OUTBOUND_PORTS,
)

INBOUND: Final = (ANNOTATION_SKIP_INBOUND_PORTS, ANNOTATION_INTERCEPTION)
"""Annotations by which plaintext reaches the application past the sidecar; interception: where it is `none`."""
OUTBOUND: Final = (ANNOTATION_SKIP_OUTBOUND_PORTS, ANNOTATION_SKIP_OUTBOUND_CIDRS, ANNOTATION_INTERCEPTION)
"""Annotations by which the application sends plaintext past the sidecar."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a final policy asks of every pod of a namespace."""

    origin: str
    says: str
    """In the policy's own words: `mode: Strict`."""
    forbids: tuple[str, ...]
    """Annotations by which a pod would go around it."""


def is_final(policy: Policy) -> bool:
    """Whether what it says of mode, ports, enforcement and outbound is final."""
    return isinstance(policy, ClusterMtlsPolicy) and not policy.overridable


def decides_enforcement(policy: Policy) -> bool:
    """Whether it says what becomes of refusals. A final policy that refuses says Enforce where it says nothing: an
    `Audit` of a namespace would take every refusal back."""
    return policy.spec.enforcement is not None or (is_final(policy) and _refuses(policy))


def finals_first(chain: Sequence[Policy]) -> list[Policy]:
    """The order in which a field that can be final is asked for. `chain`: the strongest first."""
    return [*filter(is_final, chain), *chain]


def decides_exceptions(policy: Policy) -> bool:
    """Whether it says what `outbound` excepts. A final one that says none excepts nothing: an exception of a namespace
    would take its refusals back."""
    outbound = policy.spec.outbound
    return outbound is not None and (outbound.exempt is not None or is_final(policy))


def deciding_ports(chain: Sequence[Policy]) -> Iterator[Policy]:
    """The policies whose port entries count, the strongest first: a final mode holds for all ports that neither it nor
    an older final policy names."""
    for each in filter(is_final, chain):
        yield each
        if each.spec.mode is not None:
            return
    yield from chain


def demands(chain: Iterable[Policy]) -> tuple[Demand, ...]:
    """What the final policies among those of a namespace ask of its pods. `chain`: the oldest final policy first.

    A pod that goes around its sidecar neither refuses nor secures anything, so a final `Strict` forbids both
    directions: a pod that opted in neither accepts nor sends plaintext where its policy says `Strict`.
    """
    found: list[Demand] = []
    for each in filter(is_final, chain):
        strict = sorted(port for port, mode in each.spec.ports.items() if mode is Mode.STRICT)
        if each.spec.mode is Mode.STRICT:
            found.append(Demand(each.origin, "mode: Strict", tuple(dict.fromkeys((*INBOUND, *OUTBOUND)))))
        elif strict:
            found.append(Demand(each.origin, f"mode: Strict on port {strict[0]}", INBOUND))
        if each.spec.mode is not None:
            break  # what a younger one says of modes does not count
    for each in filter(is_final, chain):
        if said := _refused_outbound(each):
            found.append(Demand(each.origin, f"outbound.{said[0]}: Refuse", OUTBOUND))
            break
    return tuple(found)


def _refuses(policy: Policy) -> bool:
    spec = policy.spec
    return Mode.STRICT in (spec.mode, *spec.ports.values()) or bool(_refused_outbound(policy))


def _refused_outbound(policy: Policy) -> list[str]:
    outbound = policy.spec.outbound
    if outbound is None:
        return []
    said = (("plaintext", outbound.plaintext), ("unknown", outbound.unknown))
    return [name for name, word in said if word is Outgoing.REFUSE]
