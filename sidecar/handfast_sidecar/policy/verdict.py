"""Whether a connection may reach the application, and by which rule. Pure: facts in, verdict out."""

import time
from functools import lru_cache
from typing import NamedTuple

from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.authorisation import WallClock
from handfast_sidecar.policy.effective import EffectivePolicy, Enforcement, Mode
from handfast_sidecar.wellknown import SIDECAR_PORTS


class Verdict(NamedTuple):
    """A decision that can be explained: `rule` names the policy, `reason` is the metric's label.

    A tuple, because a frozen dataclass costs a microsecond to make, and each new stream has one.
    """

    allowed: bool
    rule: str
    reason: str = "ok"
    sentence: str = ""
    audited: bool = False
    """It would have been refused for `reason`; the policy asks to be told of that, and no more."""


def plaintext_verdict(policy: EffectivePolicy, port: int) -> Verdict:
    """Judge a connection without identity: a list means it only by a rule for everybody, so nobody who drops TLS gets
    past one that would have stopped him."""
    rule = policy.rule_for(port)
    if port in SIDECAR_PORTS:
        return _reserved(port, rule.origin)
    origin = policy.deny.origin_for_all(port)
    if origin:
        return _refused(policy, origin, "denied", f"{origin} denies everybody on port {port}")
    if rule.mode is Mode.STRICT:
        return _refused(
            policy,
            rule.origin,
            "plaintext_refused",
            f"{rule.origin} asks for {rule.mode.value} on port {port}: the client has no sidecar; label its namespace "
            "handfast.dev/inject=enabled and restart it, or set mode Permissive",
        )
    if policy.allow is None:
        return _allowed(rule.origin)
    origin = policy.allow.rules.origin_for_all(port)
    if origin:
        return _allowed(origin)
    origin = policy.allow.origin
    return _refused(
        policy,
        origin,
        "plaintext_refused",
        f"{origin} does not allow everybody on port {port}, and a client in plaintext has no identity that could be "
        "on its list: give it a sidecar and name it in `allow`, or add a rule for this port without `from`",
    )


def tunnel_verdict(
    policy: EffectivePolicy,
    peer: SpiffeId,
    trust_domain: str,
    port: int,
    spki: str = "",
    *,
    clock: WallClock = time.time,
) -> Verdict:
    """Judge a stream of an authenticated peer, whose leaf has this key (SHA-256 of its SubjectPublicKeyInfo)."""
    if port in SIDECAR_PORTS:
        return _reserved(port, policy.rule_for(port).origin)
    own = peer.trust_domain == trust_domain
    origin = policy.deny.origin_for(peer, port, spki)
    if origin:
        return _refused(policy, origin, "denied", f"{origin} denies {peer} on port {port}", own=own)
    if policy.allow is not None:
        origin = policy.allow.rules.origin_for(peer, port, spki, clock)
        if origin:
            return _allowed(origin)
        origin = policy.allow.origin
        return _refused(policy, origin, "denied", f"{origin} does not allow {peer} on port {port}", own=own)
    origin = policy.rule_for(port).origin
    if not own:
        return Verdict(False, origin, "denied", f"{peer} is not of the trust domain {trust_domain}")
    return _allowed(origin)


def foreign_verdict(
    policy: EffectivePolicy, peer: SpiffeId, trust_domain: str, port: int, spki: str, version: str
) -> Verdict:
    """Judge a connection of a peer without a sidecar, who speaks this `version` of TLS, such as `TLSv1.3`, himself."""
    verdict = tunnel_verdict(policy, peer, trust_domain, port, spki)
    if not verdict.allowed or verdict.audited:
        return verdict
    foreign = foreign_port_verdict(policy, port)
    if not foreign.allowed or foreign.audited:
        return foreign
    if version.removeprefix("TLSv") < policy.foreign.min_version.value:
        return _refused(
            policy,
            policy.foreign.origin,
            "handshake_tls_version",
            f"{policy.foreign.origin} asks for TLS {policy.foreign.min_version.value} on port {port}, and the client "
            f"speaks {version}",
        )
    # Where no list lets it in, it is the policy that opened the port which does.
    return verdict if policy.allow is not None else foreign


def foreign_port_verdict(policy: EffectivePolicy, port: int) -> Verdict:
    """Judge a connection that a peer without a sidecar is about to secure: nobody knows yet who it is."""
    if port in policy.foreign.ports:
        return _allowed(policy.foreign.origin)
    return _refused(
        policy,
        policy.foreign.origin,
        "denied",
        f"port {port} is not open to clients without a sidecar any more: `foreign.ports` does not name it",
    )


@lru_cache(maxsize=1024)
def _allowed(origin: str) -> Verdict:
    """As many as policies select a pod, and each said so often that making it anew would be what costs most."""
    return Verdict(True, origin)


def _refused(policy: EffectivePolicy, origin: str, reason: str, sentence: str, *, own: bool = True) -> Verdict:
    """`own`: unless it is a peer of another trust domain, whom no audit lets in."""
    refusal = Verdict(False, origin, reason, sentence)
    return as_enforced(policy, refusal) if own else refusal


def as_enforced(policy: EffectivePolicy, refusal: Verdict) -> Verdict:
    """The refusal; allowed and to be told of, where the policy only audits."""
    if policy.enforcement.enforcement is Enforcement.AUDIT:
        return refusal._replace(allowed=True, audited=True)
    return refusal


def _reserved(port: int, origin: str) -> Verdict:
    return Verdict(False, origin, "reserved_port", f"port {port} belongs to the sidecar, not to an application")
