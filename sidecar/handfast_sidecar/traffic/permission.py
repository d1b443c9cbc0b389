"""Whether what was chosen may go out unencrypted, by `outbound` of the pod's policy. Pure.

The one rule: fail closed. A destination of which nobody has said anything is unknown, and a Service is what the
directory says of its endpoints: that an application speaks TLS itself cannot be seen here.
"""

from typing import Final, assert_never

from handfast_sidecar.directory.messages import AddressAnswer, NobodyAddress, PodAddress, ServiceAddress
from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.policy.outgoing import Outgoing, OutgoingRule
from handfast_sidecar.policy.verdict import Verdict, as_enforced

UNKNOWN: Final = "outbound_unknown_refused"
"""`outbound.unknown` refuses what is no pod and no Service, or of which nobody can say."""
PLAINTEXT: Final = "outbound_plaintext_refused"
"""`outbound.plaintext` refuses what has no sidecar."""


def plaintext_permission(
    policy: EffectivePolicy, answer: AddressAnswer | None, address: str, port: int
) -> Verdict | None:
    """What is to be said against an unencrypted connection to an address and port, as they were dialled; or None.

    answer   what the directory says lives there; None: nothing

    Allowed and audited where the policy only audits.
    """
    outbound = policy.outbound
    if not outbound.refuses:
        return None
    rule, reason, sentence = _applied(policy, answer, address, port)
    service = answer.name if isinstance(answer, ServiceAddress) else ""
    if rule.word is Outgoing.ALLOW or outbound.exempts(address, port, service):
        return None
    return as_enforced(policy, Verdict(False, rule.origin, reason, sentence))


def _applied(
    policy: EffectivePolicy, answer: AddressAnswer | None, address: str, port: int
) -> tuple[OutgoingRule, str, str]:
    """The rule for a destination, the reason for which it refuses, and the sentence."""
    outbound, where = policy.outbound, f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    match answer:
        case None | NobodyAddress():
            rule = outbound.unknown
            what = (
                "is in no range of the cluster, and no handfast-directory is there to say more: is one running?"
                if answer is None
                else "is the address of no pod and of no Service:"
            )
            asked = f"{rule.origin} refuses unknown destinations, and {where} {what}"
            return rule, UNKNOWN, f"{asked} name it in outbound.except, or set outbound.unknown to Allow"
        case PodAddress():
            rule = outbound.plaintext
            what = f"{where} is the pod {answer.name}, which has no sidecar, or mode Disabled"
        case ServiceAddress():
            rule = outbound.plaintext
            what = f"{where} is the Service {answer.name}, whose endpoint has no sidecar, or mode Disabled"
        case _:
            assert_never(answer)
    remedy = (
        "label its namespace handfast.dev/inject=enabled and restart it, name it in outbound.except, or set"
        " outbound.plaintext to Allow"
    )
    return rule, PLAINTEXT, f"{rule.origin} refuses plaintext, and {what}: {remedy}"
