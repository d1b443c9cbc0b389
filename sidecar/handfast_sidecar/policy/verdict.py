"""Whether a connection may reach the application, and by which rule. Pure: facts in, verdict out."""

from dataclasses import dataclass

from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import EffectivePolicy, Mode
from handfast_sidecar.wellknown import SIDECAR_PORTS


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision that can be explained: `rule` names the policy, `reason` is the metric's label."""

    allowed: bool
    rule: str
    reason: str = "ok"
    sentence: str = ""


def plaintext_verdict(policy: EffectivePolicy, port: int) -> Verdict:
    """Judge a connection without identity."""
    rule = policy.rule_for(port)
    if port in SIDECAR_PORTS:
        return _reserved(port, rule.origin)
    if rule.mode is Mode.STRICT:
        return Verdict(
            False,
            rule.origin,
            "plaintext_refused",
            f"{rule.origin} asks for {rule.mode.value} on port {port}: the client has no sidecar; label its namespace "
            "handfast.dev/inject=enabled and restart it, or set mode Permissive",
        )
    return Verdict(True, rule.origin)


def tunnel_verdict(policy: EffectivePolicy, peer: SpiffeId, trust_domain: str, port: int) -> Verdict:
    """Judge a stream of an authenticated peer: every identity of the trust domain may connect."""
    rule = policy.rule_for(port)
    if port in SIDECAR_PORTS:
        return _reserved(port, rule.origin)
    if peer.trust_domain != trust_domain:
        return Verdict(False, rule.origin, "denied", f"{peer} is not of the trust domain {trust_domain}")
    return Verdict(True, rule.origin)


def _reserved(port: int, origin: str) -> Verdict:
    return Verdict(False, origin, "reserved_port", f"port {port} belongs to the sidecar, not to an application")
