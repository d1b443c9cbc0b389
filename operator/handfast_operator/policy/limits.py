"""Limits and what may go out: of the policies that select a pod, field by field, the strongest that says it. Pure."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from handfast_operator.policy.final import decides_exceptions
from handfast_operator.resources.policies import LimitsSpec, OutboundSpec, Policy, RateSpec, ShareSpec
from handfast_sidecar.policy.limits import Ceiling, Limits, Rate, Share
from handfast_sidecar.policy.outgoing import OutboundPolicy, Outgoing, OutgoingRule

T = TypeVar("T")
_NO_LIMITS: Final = LimitsSpec()
_NO_OUTBOUND: Final = OutboundSpec()


def limits_of(chain: Sequence[Policy]) -> Limits | None:
    """What the pod's sidecar is told; None: no policy sets a limit. `chain`: the strongest first."""
    handshakes = _first(chain, lambda spec: spec.handshakes_per_second, _limits)
    limits = Limits(
        _share(chain, lambda spec: spec.total),
        _share(chain, lambda spec: spec.client),
        Rate(handshakes[0], handshakes[0], handshakes[1]) if handshakes is not None else None,
    )
    return limits if limits != Limits() else None


def outbound_of(ruling: Sequence[Policy]) -> OutboundPolicy:
    """What the pod may send; the exceptions are all of one policy. `ruling`: final policies first (policy/final.py)."""
    excepting = next(filter(decides_exceptions, ruling), None)
    return OutboundPolicy(
        _outgoing(ruling, lambda spec: spec.unknown),
        _outgoing(ruling, lambda spec: spec.plaintext),
        (_outbound(excepting).exempt or ()) if excepting is not None else (),
    )


def _share(chain: Sequence[Policy], share: Callable[[LimitsSpec], ShareSpec]) -> Share:
    connections = _first(chain, lambda spec: share(spec).max_connections, _limits)
    rate = _first(chain, lambda spec: share(spec).rate, _limits)
    return Share(Ceiling(*connections) if connections is not None else None, _rate(*rate) if rate is not None else None)


def _rate(said: RateSpec, origin: str) -> Rate:
    """A burst belongs to the rate that it stands beside, and is not combined with another policy's."""
    return Rate(said.per_second, said.per_second if said.burst is None else said.burst, origin)


def _outgoing(chain: Sequence[Policy], word: Callable[[OutboundSpec], Outgoing | None]) -> OutgoingRule:
    found = _first(chain, word, _outbound)
    return OutgoingRule(*found) if found is not None else OutgoingRule()


def _limits(policy: Policy) -> LimitsSpec:
    return policy.spec.limits or _NO_LIMITS


def _outbound(policy: Policy) -> OutboundSpec:
    return policy.spec.outbound or _NO_OUTBOUND


S = TypeVar("S", LimitsSpec, OutboundSpec)


def _first(
    chain: Sequence[Policy], field: Callable[[S], T | None], part: Callable[[Policy], S]
) -> tuple[T, str] | None:
    """The value of the strongest policy that has one, and that policy."""
    for policy in chain:
        value = field(part(policy))
        if value is not None:
            return value, policy.origin
    return None
