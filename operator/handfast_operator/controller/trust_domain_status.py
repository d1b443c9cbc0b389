"""What the status of a TrustDomain says: who signs, until when, and how far the root's replacement is."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from handfast_operator.authority.authority import Authority, NoAuthority
from handfast_operator.authority.expiring import Life
from handfast_operator.authority.steps import Offer, Phase, Plan
from handfast_operator.cluster.kinds import TRUST_DOMAINS, Kind
from handfast_operator.controller.expiring import life_of
from handfast_operator.controller.rotation import Standing
from handfast_operator.controller.status import KindStatus
from handfast_operator.resources.conditions import Condition, merge_conditions
from handfast_operator.resources.times import format_time
from handfast_sidecar.identity.bundle import fingerprint
from handfast_sidecar.identity.clock import Clock, utc_now

Json = dict[str, Any]
MAX_STRAGGLERS: Final = 20
"""That a status names: the CRD's own bound."""
_NOT_ROTATING: Final = {"state": Phase.IDLE.value, "waiting": 0, "stragglers": [], "message": ""}


class TrustDomainStatus:
    """Of our own trust domain, and of those that have no effect."""

    def __init__(
        self,
        standing: Callable[[], Standing],
        clock: Clock = utc_now,
        *,
        serving: Callable[[], Mapping[str, Life]] = dict,
        unheeded: Callable[[], str] = str,
    ) -> None:
        """`serving`: the operator's own certificates, by role; `unheeded`: see `OwnTrustDomain.unheeded`."""
        self._standing = standing
        self._serving = serving
        self._unheeded = unheeded
        self._clock = clock

    def kinds(self) -> dict[Kind, KindStatus]:
        """For the StatusWriter."""
        return {TRUST_DOMAINS: KindStatus(self.compute)}

    def compute(self, raw: Json) -> Json:
        """From an object as it is to its status as it should be."""
        standing = self._standing()
        served = standing.authorities.trust_domain
        if raw["metadata"]["name"] != served:
            sentence = f"No effect: the operator issues for {served} (chart value trustDomain)."
            conditions = [Condition("Ready", False, "NotServed", sentence)]
            return {"conditions": self._merge(raw, conditions), "authorities": [], "rotation": dict(_NOT_ROTATING)}
        newest = sorted(standing.authorities.authorities, key=lambda each: (each.number, each.entered), reverse=True)
        conditions = [_ready(standing), _rotating(standing.plan), _accepted(standing.offer, self._unheeded())]
        return {
            "conditions": self._merge(raw, conditions),
            "authorities": [_authority(each, standing.pods.get(each.name, 0)) for each in newest],
            "rotation": _rotation(standing.plan),
            "serving": [
                {"name": role, "notBefore": format_time(life.begins), "notAfter": format_time(life.ends)}
                for role, life in sorted(self._serving().items())
            ],
        }

    def _merge(self, raw: Json, conditions: list[Condition]) -> list[Json]:
        known = (raw.get("status") or {}).get("conditions") or ()
        return merge_conditions(known, conditions, int(raw["metadata"].get("generation", 1)), self._clock())


def _ready(standing: Standing) -> Condition:
    try:
        active = standing.authorities.active
    except NoAuthority as error:
        return Condition("Ready", False, "NoAuthority", str(error))
    return Condition("Ready", True, "Issuing", f"{active.name} signs until {format_time(active.ends)}.")


def _rotating(plan: Plan) -> Condition:
    return Condition("Rotating", plan.authority is not None, plan.phase.value, f"{_capital(plan.message)}.")


def _accepted(offer: Offer | None, unheeded: str) -> Condition:
    status, reason, message = _judged(offer)
    return Condition("IssuerAccepted", status, reason, f"{message} {unheeded}".rstrip())


def _judged(offer: Offer | None) -> tuple[bool, str, str]:
    if offer is None:
        return True, "SelfSigned", "The operator makes its roots itself."
    if offer.refusal:
        word = "".join(each.capitalize() for each in offer.reason.split("_"))
        return False, word or "Refused", f"{_capital(offer.refusal)}."
    if offer.signer is None:
        return False, "Unknown", "The external issuer's Secret was not read yet."
    return True, "Accepted", "The external issuer's Secret can sign."


def _authority(authority: Authority, pods: int) -> Json:
    return {
        "name": authority.name,
        "state": authority.state.value,
        "since": format_time(authority.entered),
        "notBefore": format_time(life_of(authority).begins),
        "notAfter": format_time(authority.ends),
        "keyIdentifier": authority.key_id,
        "fingerprint": fingerprint([authority.certificate]),
        "source": "secretRef" if authority.source else "selfSigned",
        "pods": pods,
    }


def _rotation(plan: Plan) -> Json:
    on_its_way = plan.authority
    return {
        "state": plan.phase.value,
        # Removed by the merge patch where nothing is on its way.
        "authority": on_its_way.name if on_its_way is not None else None,
        "since": format_time(on_its_way.entered) if on_its_way is not None else None,
        "waiting": len(plan.stragglers),
        "stragglers": [
            {"pod": each.pod, "reason": each.reason.value, "message": each.message}
            for each in plan.stragglers[:MAX_STRAGGLERS]
        ],
        "message": _capital(plan.message),
    }


def _capital(sentence: str) -> str:
    """Names of authorities stay as they are."""
    return sentence if sentence.startswith("handfast-") else sentence[:1].upper() + sentence[1:]
