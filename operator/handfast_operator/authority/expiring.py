"""Who is told, and when, that a certificate ends which should have been replaced long before. Pure.

Its one rule: whoever hears of it can still prevent it. A leaf is renewed from a third of its life on, and a root
replaced when a third of it is left: what gets past a third did not happen by itself, and past a sixth it is urgent.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from handfast_operator.resources.times import format_time

GRACE_PART: Final = 10
"""A renewal is late when this part of the time that it had is over: retries and kubelet take a while."""
ROTATION_PART: Final = 90
"""A rotation begins by itself when a third of a root is left: this part of its life later it should be on its way."""
PROJECTION: Final = timedelta(minutes=2)
"""kubelet takes up to 100 s to bring a changed Secret into the pod: before this nobody has failed."""


class Within(StrEnum):
    """How little of a life is left."""

    THIRD = "third"
    SIXTH = "sixth"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Life:
    """Of a certificate; it begins when it was issued, which is later than `notBefore`."""

    begins: datetime
    ends: datetime

    def left(self, part: int) -> datetime:
        """When one part in so many is left of it."""
        return self.ends - (self.ends - self.begins) / part

    def within(self, now: datetime) -> Within | None:
        """By the clock alone; None while more than a third is left."""
        if now >= self.ends:
            return Within.EXPIRED
        if now >= self.left(6):
            return Within.SIXTH
        return Within.THIRD if now >= self.left(3) else None


@dataclass(frozen=True, slots=True)
class Notice:
    """What somebody is to be told."""

    within: Within
    reason: str
    """CamelCase."""
    note: str
    """The same words each time: an Event that was said is known by them."""


def leaf_within(now: datetime, life: Life, renew_at: datetime) -> Within | None:
    """Of a leaf that should have been renewed; None while it need not be, or has just come to it."""
    late = renew_at + (life.ends - renew_at) / GRACE_PART
    return life.within(now) if now >= min(late, life.ends) else None


def authority_within(now: datetime, life: Life, *, replaced: bool) -> Within | None:
    """`replaced`: the next one is on its way already, or signs; then it is told of from a sixth on."""
    found = life.within(now)
    if found is Within.THIRD and (replaced or now < life.left(3) + (life.ends - life.begins) / ROTATION_PART):
        return None
    return found


def leaf_notice(within: Within, *, secret: str, serial: str, life: Life, why: str) -> Notice:
    """Of the leaf in a Secret (namespace/name) that was not renewed; `why`: the issuer's last failure."""
    cause = f"the last attempt failed: {why}" if why else "no attempt has failed: is handfast-controller running?"
    return Notice(
        within,
        _reason("Leaf", within),
        f"the certificate {serial} in the Secret {secret} {_when(within, life)}:"
        f" {cause}. See the log of handfast-controller, and: handfast certs"
        f" -n {secret.partition('/')[0]} --expiring",
    )


def loaded_notice(within: Within, *, secret: str, serial: str, life: Life, since: datetime) -> Notice:
    """Of the leaf that a sidecar runs with, while its Secret has had another one since then."""
    return Notice(
        within,
        _reason("Leaf", within),
        f"the sidecar runs with the certificate {serial}, which {_when(within, life)}:"
        f" the Secret {secret} has had a new one since {format_time(since)}, which kubelet has not"
        " projected or the sidecar does not accept. See the log of the container handfast-proxy; a restart of the pod"
        " brings the new one",
    )


def authority_notice(within: Within, *, name: str, life: Life, replaced: bool, paused: bool) -> Notice:
    """Of a root that the operator made itself."""
    if replaced:
        cause = "its replacement has begun and is not done: `handfast rotate --status` names who is waited for"
    elif paused:
        cause = "rotation is paused (spec.rotation.paused of the TrustDomain): handfast rotate --resume"
    else:
        cause = "no rotation has begun by itself: begin one with `handfast rotate`, and see the controller's log"
    return Notice(
        within,
        _reason("Authority", within),
        f"the authority {name} {_when(within, life)}. No leaf outlives it; {cause}",
    )


def issuer_notice(within: Within, *, name: str, life: Life, why: str) -> Notice:
    """Of an authority that is a copy of an external issuer's; `why`: what was wrong with what came after it."""
    cause = f"what stands in its Secret now was refused: {why}" if why else "nobody has renewed it in its Secret"
    return Notice(
        within,
        _reason("Issuer", within),
        f"the external issuer that {name} was copied from {_when(within, life)}:"
        f" {cause}. Renew it where it is made (spec.issuer.secretRef of the TrustDomain names the Secret;"
        " with cert-manager: kubectl get certificates -A); the operator takes it from there",
    )


def serving_notice(within: Within, *, role: str, life: Life, why: str) -> Notice:
    """Of the operator's own: of the webhook, or of the directory."""
    cause = f"the last attempt failed: {why}" if why else "no attempt has failed: is handfast-controller running?"
    lost = "no pod that opts in can be created" if role == "webhook" else "no sidecar hears from the directory"
    return Notice(
        within,
        _reason("ServingCertificate", within),
        f"the certificate of the {role} {_when(within, life)};"
        f" after it {lost}. It is renewed at half of its life: {cause}. See the log of handfast-controller",
    )


def _reason(what: str, within: Within) -> str:
    return f"{what}{'Expired' if within is Within.EXPIRED else 'Expiring'}"


def _when(within: Within, life: Life) -> str:
    if within is Within.EXPIRED:
        return f"ended at {format_time(life.ends)}"
    return f"ends at {format_time(life.ends)}, and less than a {within} of its life is left"
