"""What may go out unencrypted: each kind of destination under each word, and whom an exception means."""

from ipaddress import ip_network

import pytest

from handfast_sidecar.directory.messages import AddressAnswer, Endpoint, NobodyAddress, PodAddress, ServiceAddress
from handfast_sidecar.policy.effective import EffectivePolicy, Enforcement, EnforcementRule
from handfast_sidecar.policy.outgoing import Exempt, OutboundPolicy, Outgoing, OutgoingRule
from handfast_sidecar.traffic.permission import PLAINTEXT, UNKNOWN, plaintext_permission

ADDRESS, PORT = "10.1.2.3", 8080
REFUSE = OutgoingRule(Outgoing.REFUSE, "MTLSPolicy shop/orders")
NOBODY, POD = NobodyAddress(ADDRESS), PodAddress(ADDRESS, "shop/db-0", "uid")
SERVICE = ServiceAddress(ADDRESS, "default/kubernetes", {PORT: (Endpoint("192.0.2.1", 6443),)})
OUTSIDE = OutboundPolicy(unknown=REFUSE)
INSIDE = OutboundPolicy(plaintext=REFUSE)


def reason(outbound: OutboundPolicy, answer: AddressAnswer | None) -> str | None:
    verdict = plaintext_permission(EffectivePolicy(outbound=outbound), answer, ADDRESS, PORT)
    if verdict is None:
        return None
    assert (verdict.allowed, verdict.rule) == (False, REFUSE.origin)
    assert f"{ADDRESS}:{PORT}" in verdict.sentence
    assert REFUSE.origin in verdict.sentence
    assert "outbound.except" in verdict.sentence
    return verdict.reason


@pytest.mark.parametrize(
    ("answer", "under_unknown", "under_plaintext"),
    [(None, UNKNOWN, None), (NOBODY, UNKNOWN, None), (POD, None, PLAINTEXT), (SERVICE, None, PLAINTEXT)],
    ids=["nobody asked", "nobody's", "a pod", "a Service"],
)
def test_each_destination_is_under_one_word(
    answer: AddressAnswer | None, under_unknown: str | None, under_plaintext: str | None
) -> None:
    assert reason(OutboundPolicy(), answer) is None
    assert reason(OUTSIDE, answer) == under_unknown
    assert reason(INSIDE, answer) == under_plaintext
    assert reason(OutboundPolicy(REFUSE, REFUSE), answer) == (under_unknown or under_plaintext)


@pytest.mark.parametrize(
    ("exempt", "means"),
    [
        (Exempt(ip_network("10.1.2.0/24")), True),
        (Exempt(ip_network("10.1.3.0/24")), False),
        (Exempt(ip_network("::/0")), False),
        (Exempt(ip_network("10.1.2.3/32"), ports=frozenset({PORT})), True),
        (Exempt(ip_network("10.1.2.3/32"), ports=frozenset({443})), False),
        (Exempt(ip_network("10.1.2.3/32"), ports=frozenset()), False),
        (Exempt(service="default/kubernetes"), True),
        (Exempt(service="default/kubernetes", ports=frozenset({443})), False),
        (Exempt(service="shop/kubernetes"), False),
        (Exempt(), False),
    ],
)
def test_an_exception_means_what_it_says(exempt: Exempt, means: bool) -> None:
    assert (reason(OutboundPolicy(REFUSE, REFUSE, (exempt,)), SERVICE) is None) is means


@pytest.mark.parametrize("answer", [None, NOBODY, POD], ids=["nobody asked", "nobody's", "a pod"])
def test_a_service_is_excepted_only_where_it_is_known_to_live(answer: AddressAnswer | None) -> None:
    exempt = (Exempt(service="default/kubernetes"), Exempt(service="shop/db-0"))
    assert reason(OutboundPolicy(REFUSE, REFUSE, exempt), answer) is not None


def test_audit_lets_it_pass_and_tells_of_it() -> None:
    policy = EffectivePolicy(outbound=OUTSIDE, enforcement=EnforcementRule(Enforcement.AUDIT))
    verdict = plaintext_permission(policy, None, ADDRESS, PORT)
    assert verdict is not None
    assert (verdict.allowed, verdict.audited, verdict.reason) == (True, True, UNKNOWN)
