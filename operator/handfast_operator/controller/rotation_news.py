"""What people are told of a root rotation beside the status: Events about the TrustDomain, and metrics."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from handfast_operator import metrics
from handfast_operator.authority.authority import AuthoritySet
from handfast_operator.authority.gates import Straggler
from handfast_operator.authority.state import AuthorityState
from handfast_operator.authority.steps import Move, Plan, Prepare, Step, Why
from handfast_operator.policy.words import some
from handfast_operator.resources.times import format_time
from handfast_sidecar.identity.leaf import serial_of
from handfast_sidecar.observe.metrics import Registry

Say = Callable[[str, str, str], None]
"""Called with `Normal` or `Warning`, a reason, and a sentence about the TrustDomain."""
NAMED: Final = 10
"""Stragglers that an Event names."""
PATIENCE: Final = timedelta(seconds=60)
"""Between two Events about whom a rotation waits for; and until the first, for nobody is late before."""
_OUTCOMES: Final = {Why.EVIDENCE: "finished", Why.FORCE: "forced", Why.CLOCK: "clock"}
_ASKED: Final = {
    Why.REQUEST: "spec.rotation.trigger asks for it",
    Why.AGE: "the root that signs is near its end",
    Why.ISSUER: "the issuer is another one",
}


class RotationNews:
    """Says each thing once."""

    def __init__(self, say: Say, registry: Registry) -> None:
        self._say = say
        self._said_at: datetime | None = None
        self._pods = metrics.AUTHORITY_PODS.of(registry)
        self._stragglers = metrics.STRAGGLERS.of(registry)
        self._step = metrics.ROTATION_SINCE.of(registry)
        self._outcomes = metrics.ROTATIONS.of(registry)

    def seen(self, plan: Plan, authorities: AuthoritySet, pods: Mapping[str, int], now: datetime) -> None:
        """A plan as it is now."""
        self._pods.clear()
        for each in authorities.authorities:
            self._pods.labels(each.state.value, each.name).set(pods.get(each.name, 0))
        self._stragglers.set(len(plan.stragglers))
        self._step.set(plan.authority.entered.timestamp() if plan.authority is not None else 0)
        if plan.authority is None or not plan.stragglers or plan.step is not None:
            return
        if now < max(plan.authority.entered, self._said_at or plan.authority.entered) + PATIENCE:
            return
        self._said_at = now
        self._say("Warning", "RotationWaiting", f"{plan.message}; {named(plan.stragglers)}")

    def lost(self, certificates: Collection[x509.Certificate], authorities: AuthoritySet) -> None:
        """Keys that were there a minute ago; when nobody signs any more, that is told with what was done about it."""
        for each in certificates:
            until = format_time(each.not_valid_after_utc)
            self._say(
                "Warning",
                "AuthorityKeyLost",
                f"the Secret with the key of the certificate {serial_of(each)} is gone: the certificate stays in the"
                f" bundle of {authorities.trust_domain} until it ends at {until}: if the Secret was deleted by mistake,"
                " put it back",
            )

    def taken(self, step: Step, authorities: AuthoritySet) -> None:
        """A step was written."""
        match step:
            case Prepare():
                made = authorities.newest
                self._say("Normal", "RotationStarted", f"{made.name if made else '?'} is made: {_ASKED[step.why]}")
            case Move():
                self._moved(step, authorities.active.number)
            case _:
                return

    def _moved(self, step: Move, signer: int) -> None:
        name, state = step.authority.name, step.state
        if step.why is Why.FORCE:
            self._say("Warning", "RotationForced", f"{name} becomes {state} by force; {named(step.left)}")
        if step.why is Why.CLOCK and step.left:
            self._say("Warning", "RotationByClock", f"{name} becomes {state}, time has run out; {named(step.left)}")
        if step.why is Why.BACK:
            what = f"{name} signs again" if state is AuthorityState.ACTIVE else f"{name} is given up"
            self._say("Normal", "RotationTakenBack", f"{what}, as spec.rotation.back asks")
            self._outcomes.labels("taken_back").inc()
        elif state is AuthorityState.RETIRED and step.why in _OUTCOMES:
            self._say("Normal", "RotationFinished", f"{name} is trusted no more")
            if step.authority.number < signer:  # else it was counted when it was taken back
                self._outcomes.labels(_OUTCOMES[step.why]).inc()


def named(stragglers: Sequence[Straggler]) -> str:
    """Who they are, the first ones by name."""
    if not stragglers:
        return "nobody is left behind"
    return f"not there yet: {some([f'{each.pod} ({each.reason})' for each in stragglers], NAMED)}"
