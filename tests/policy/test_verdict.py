"""Every sentence of the schema about `allow`, `deny`, `mode` and `enforcement`, from the object to the verdict."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_operator.policy.compile import PolicySet, compile_policy
from handfast_operator.resources.parse import parse_cluster_mtls_policy, parse_mtls_policy
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.authorisation import Rule, RuleSet, Source
from handfast_sidecar.policy.effective import (
    AllowRules,
    EffectivePolicy,
    Enforcement,
    EnforcementRule,
    ForeignRule,
    Mode,
    ModeRule,
    TlsVersion,
)
from handfast_sidecar.policy.principals import Principal
from handfast_sidecar.policy.verdict import Verdict, foreign_verdict, plaintext_verdict, tunnel_verdict
from handfast_sidecar.wellknown import MESH_PORT

TD = "cluster.local"
CART = SpiffeId.parse(f"spiffe://{TD}/ns/shop/sa/cart")
FRONT = SpiffeId.parse(f"spiffe://{TD}/ns/web/sa/front")
PARTNER = SpiffeId.parse("spiffe://partner.example/ns/a/sa/b")
KEY, OTHER_KEY = "ab" * 32, "cd" * 32
HTTP, METRICS = 8080, 9090
PLAINTEXT = None
Spec = Mapping[str, Any]


def raw(kind: str, name: str, spec: Spec) -> dict[str, Any]:
    metadata = {"name": name, "uid": name, "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    if kind == "MTLSPolicy":
        metadata["namespace"] = "shop"
    return {"kind": kind, "metadata": metadata | {"generation": 1}, "spec": dict(spec)}


def effective(spec: Spec, cluster: Spec | None = None) -> EffectivePolicy:
    """What the sidecar of a pod in the namespace shop reads, under a policy `orders` there and one of the cluster."""
    policies = PolicySet(
        () if cluster is None else (parse_cluster_mtls_policy(raw("ClusterMTLSPolicy", "default", cluster)),),
        {"shop": (parse_mtls_policy(raw("MTLSPolicy", "orders", spec)),)},
    )
    return EffectivePolicy.from_json(compile_policy("shop", {}, {}, policies, TD).policy.to_json())


def verdict(policy: EffectivePolicy, peer: SpiffeId | None, port: int = HTTP, spki: str = KEY) -> Verdict:
    return plaintext_verdict(policy, port) if peer is None else tunnel_verdict(policy, peer, TD, port, spki)


def passes(policy: EffectivePolicy, peer: SpiffeId | None, port: int = HTTP, spki: str = KEY) -> bool:
    return verdict(policy, peer, port, spki).allowed


ONLY_CART = [{"from": [{"serviceAccount": "cart"}]}]
OF_WEB = {"from": [{"namespace": "web"}]}


@pytest.mark.parametrize(
    ("spec", "let_in", "kept_out"),
    [
        pytest.param({"mode": "Permissive"}, [CART, FRONT, PLAINTEXT], [PARTNER], id="no list: the trust domain"),
        pytest.param({"mode": "Strict"}, [CART, FRONT], [PARTNER, PLAINTEXT], id="Strict: tunnels only"),
        pytest.param({"mode": "Disabled"}, [PLAINTEXT], [], id="Disabled: plaintext"),
        pytest.param({"allow": []}, [], [CART, FRONT, PARTNER, PLAINTEXT], id="an empty list lets nobody in"),
        pytest.param({"allow": [{}]}, [CART, FRONT, PLAINTEXT], [], id="a rule without from means everybody"),
        pytest.param({"allow": [{}], "mode": "Strict"}, [CART], [PLAINTEXT], id="everybody, where the mode lets him"),
        pytest.param({"allow": [{"from": []}]}, [], [CART, PLAINTEXT], id="an empty from means nobody"),
        pytest.param({"allow": [{"ports": []}]}, [], [CART, PLAINTEXT], id="an empty ports means none"),
        pytest.param({"allow": [{"ports": [HTTP]}]}, [CART, PLAINTEXT], [], id="one of the ports"),
        pytest.param({"allow": [{"ports": [METRICS]}]}, [], [CART, PLAINTEXT], id="another port"),
        pytest.param(
            {"allow": ONLY_CART}, [CART], [FRONT, PLAINTEXT], id="a service account of the policy's namespace"
        ),
        pytest.param(
            {"allow": [{"from": [{"serviceAccount": "front", "namespace": "web"}]}]},
            [FRONT],
            [CART, PLAINTEXT],
            id="a service account of the namespace beside it",
        ),
        pytest.param({"allow": [OF_WEB]}, [FRONT], [CART, PLAINTEXT], id="all identities of a namespace"),
        pytest.param(
            {"allow": [{"from": [{"principal": str(PARTNER)}]}]}, [PARTNER], [CART, PLAINTEXT], id="a SPIFFE ID"
        ),
        pytest.param(
            {"allow": [{"from": [{"principal": f"spiffe://{TD}/*"}]}]},
            [CART, FRONT],
            [PARTNER, PLAINTEXT],
            id="all below, which are identities",
        ),
        pytest.param({"allow": [*ONLY_CART, OF_WEB]}, [CART, FRONT], [PLAINTEXT], id="one of the rules"),
        pytest.param(
            {"allow": [{"from": [{"namespace": "web"}, {"serviceAccount": "cart"}]}]},
            [CART, FRONT],
            [PLAINTEXT],
            id="one of the callers",
        ),
        pytest.param({"allow": [OF_WEB | {"ports": [METRICS]}]}, [], [FRONT], id="callers and ports must both fit"),
        pytest.param({"allow": [{"from": [{"spkiSHA256": KEY}]}]}, [CART, PARTNER], [PLAINTEXT], id="a key"),
        pytest.param({"allow": [{"from": [{"spkiSHA256": OTHER_KEY}]}]}, [], [CART, PLAINTEXT], id="another key"),
        pytest.param(
            {"allow": [{"from": [{"namespace": "web", "spkiSHA256": KEY}]}]},
            [FRONT],
            [CART, PLAINTEXT],
            id="all that is said must fit",
        ),
        pytest.param({"deny": [OF_WEB]}, [CART, PLAINTEXT], [FRONT, PARTNER], id="who is denied"),
        pytest.param({"deny": [OF_WEB], "allow": [OF_WEB, *ONLY_CART]}, [CART], [FRONT], id="deny beats allow"),
        pytest.param({"deny": [{}]}, [], [CART, FRONT, PLAINTEXT], id="everybody is denied, plaintext included"),
        pytest.param({"deny": [{}], "allow": [{}]}, [], [CART, PLAINTEXT], id="deny of all beats allow of all"),
        pytest.param({"deny": [{"ports": [HTTP]}]}, [], [CART, PLAINTEXT], id="everybody is denied on a port"),
        pytest.param({"deny": [{"ports": [METRICS]}]}, [CART, PLAINTEXT], [], id="everybody is denied on another port"),
        pytest.param({"deny": [{"from": []}]}, [CART, PLAINTEXT], [], id="nobody is denied"),
        pytest.param({"deny": [{"from": [{"spkiSHA256": KEY}]}]}, [PLAINTEXT], [CART, FRONT], id="a key is denied"),
        pytest.param(
            {"mode": "Disabled", "allow": ONLY_CART}, [], [PLAINTEXT], id="plaintext proves no name on a list"
        ),
    ],
)
def test_who_is_let_in(spec: Spec, let_in: Sequence[SpiffeId | None], kept_out: Sequence[SpiffeId | None]) -> None:
    policy = effective(spec)
    assert [peer for peer in let_in if not passes(policy, peer)] == []
    assert [peer for peer in kept_out if passes(policy, peer)] == []


def test_left_out_an_allow_is_inherited_and_a_list_replaces_it() -> None:
    assert not passes(effective({"mode": "Permissive"}, {"allow": [OF_WEB]}), CART)
    inner = effective({"allow": ONLY_CART}, {"allow": [OF_WEB]})
    assert (passes(inner, CART), passes(inner, FRONT)) == (True, False)


def test_a_deny_of_the_cluster_holds_whatever_the_namespace_allows_and_both_are_added_up() -> None:
    policy = effective({"allow": [{}], "deny": ONLY_CART}, {"deny": [OF_WEB]})
    assert (passes(policy, CART), passes(policy, FRONT)) == (False, False)
    assert verdict(policy, FRONT).rule == "ClusterMTLSPolicy default"


@pytest.mark.parametrize(
    ("spec", "peer", "reason", "said"),
    [
        ({"allow": ONLY_CART}, FRONT, "denied", f"MTLSPolicy shop/orders does not allow {FRONT} on port {HTTP}"),
        ({"deny": [OF_WEB]}, FRONT, "denied", f"MTLSPolicy shop/orders denies {FRONT} on port {HTTP}"),
        ({"deny": [{}]}, None, "denied", f"MTLSPolicy shop/orders denies everybody on port {HTTP}"),
        ({"allow": ONLY_CART}, None, "plaintext_refused", f"does not allow everybody on port {HTTP}, and a client in"),
        ({"mode": "Strict"}, None, "plaintext_refused", f"MTLSPolicy shop/orders asks for Strict on port {HTTP}"),
    ],
)
def test_a_refusal_names_the_object_the_reason_and_what_happened(
    spec: Spec, peer: SpiffeId | None, reason: str, said: str
) -> None:
    found = verdict(effective(spec), peer)
    assert (found.allowed, found.rule, found.reason) == (False, "MTLSPolicy shop/orders", reason)
    assert said in found.sentence


@pytest.mark.parametrize("peer", [CART, PLAINTEXT])
@pytest.mark.parametrize("spec", [{"allow": []}, {"deny": [{}]}], ids=["allow", "deny"])
def test_an_audit_decides_and_refuses_nothing(spec: Spec, peer: SpiffeId | None) -> None:
    refused, audited = verdict(effective(spec), peer), verdict(effective({**spec, "enforcement": "Audit"}), peer)
    assert (refused.allowed, audited.allowed, audited.audited) == (False, True, True)
    assert (audited.rule, audited.reason, audited.sentence) == (refused.rule, refused.reason, refused.sentence)


@pytest.mark.parametrize("spec", [{"mode": "Strict"}, {"allow": ONLY_CART}, {"deny": [{}]}])
def test_an_audit_lets_nobody_of_another_trust_domain_in(spec: Spec) -> None:
    assert not passes(effective({**spec, "enforcement": "Audit"}), PARTNER)


@pytest.mark.parametrize("peer", [CART, PLAINTEXT])
def test_neither_a_list_nor_an_audit_opens_the_sidecars_own_ports(peer: SpiffeId | None) -> None:
    found = verdict(effective({"allow": [{}], "enforcement": "Audit"}), peer, MESH_PORT)
    assert (found.allowed, found.reason) == (False, "reserved_port")


def foreign(policy: EffectivePolicy, version: str = "TLSv1.3", peer: SpiffeId = CART, spki: str = KEY) -> Verdict:
    return foreign_verdict(policy, peer, TD, HTTP, spki, version)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"foreign": {"ports": [HTTP]}}, "ok"),
        ({"foreign": {"ports": [HTTP]}, "allow": [{"from": [{"spkiSHA256": KEY}]}]}, "ok"),
        ({"foreign": {"ports": [HTTP]}, "allow": [{"from": [{"spkiSHA256": OTHER_KEY}]}]}, "denied"),
        ({"foreign": {"ports": [METRICS]}}, "denied"),
        ({"mode": "Strict"}, "denied"),
    ],
)
def test_a_peer_without_a_sidecar_is_judged_by_the_same_lists_and_by_the_port(spec: Spec, reason: str) -> None:
    assert foreign(effective(spec)).reason == reason


def test_what_speaks_an_older_tls_than_the_policy_asks_for_may_not_stay() -> None:
    older = effective({"foreign": {"ports": [HTTP], "minVersion": "1.2"}})
    newer = effective({"foreign": {"ports": [HTTP]}})
    assert foreign(older, "TLSv1.2").allowed
    found = foreign(newer, "TLSv1.2")
    assert (found.allowed, found.reason) == (False, "handshake_tls_version")
    assert "MTLSPolicy shop/orders asks for TLS 1.3 on port 8080, and the client speaks TLSv1.2" in found.sentence


NAMES = st.sampled_from(["a", "b"])
IDS = st.builds(lambda n, s: SpiffeId.parse(f"spiffe://{TD}/ns/{n}/sa/{s}"), NAMES, NAMES)
PEERS = st.one_of(st.none(), IDS, st.just(PARTNER))
SOURCES = st.builds(
    Source, st.one_of(IDS.map(lambda each: Principal(str(each))), st.just(Principal.parse(f"spiffe://{TD}/ns/a/*")))
) | st.just(Source(spki=KEY))
RULES = st.builds(
    Rule,
    st.sampled_from(["x", "y"]),
    st.one_of(st.none(), st.lists(SOURCES, max_size=2).map(tuple)),
    st.one_of(st.none(), st.frozensets(st.sampled_from([HTTP, METRICS]), max_size=2)),
)
LISTS = st.lists(RULES, max_size=4)
PORTS = st.sampled_from([HTTP, METRICS])
MODES = st.sampled_from(list(Mode))


def of(mode: Mode, allow: Sequence[Rule] | None, deny: Sequence[Rule]) -> EffectivePolicy:
    return EffectivePolicy(
        ModeRule(mode),
        allow=None if allow is None else AllowRules(RuleSet(allow), "p"),
        deny=RuleSet(deny),
    )


@given(MODES, LISTS, LISTS, st.randoms(), PEERS, PORTS)
def test_deny_beats_allow_whatever_the_order(
    mode: Mode, allow: list[Rule], deny: list[Rule], random: Any, peer: SpiffeId | None, port: int
) -> None:
    first = passes(of(mode, allow, deny), peer, port)
    denied = not passes(
        of(Mode.PERMISSIVE, [Rule("all"), Rule("p", (Source(Principal(str(PARTNER))),))], deny), peer, port
    )
    assert not (first and denied)
    random.shuffle(allow)
    random.shuffle(deny)
    assert passes(of(mode, allow, deny), peer, port) is first


@given(MODES, LISTS, LISTS, RULES, PEERS, PORTS)
def test_one_more_allow_closes_nothing_and_one_more_deny_opens_nothing(
    mode: Mode, allow: list[Rule], deny: list[Rule], more: Rule, peer: SpiffeId | None, port: int
) -> None:
    before = passes(of(mode, allow, deny), peer, port)
    assert passes(of(mode, [*allow, more], deny), peer, port) or not before
    assert before or not passes(of(mode, allow, [*deny, more]), peer, port)


@given(MODES, st.one_of(st.none(), LISTS), LISTS, IDS, PORTS)
def test_who_drops_tls_gets_past_no_list_of_names(
    mode: Mode, allow: list[Rule] | None, deny: list[Rule], peer: SpiffeId, port: int
) -> None:
    """Of the lists, plaintext passes only what lets everybody pass: whoever it is, the same `allow` lets him in."""
    policy = of(mode, allow, deny)
    if passes(policy, PLAINTEXT, port):
        assert passes(of(mode, allow, []), peer, port)


@given(MODES, LISTS, LISTS, PEERS, PORTS)
def test_an_audit_finds_what_enforcing_would_refuse(
    mode: Mode, allow: list[Rule], deny: list[Rule], peer: SpiffeId | None, port: int
) -> None:
    enforced = of(mode, allow, deny)
    audit = EffectivePolicy(
        enforced.default,
        foreign=ForeignRule(min_version=TlsVersion.TLS_1_2),
        allow=enforced.allow,
        deny=enforced.deny,
        enforcement=EnforcementRule(Enforcement.AUDIT, "p"),
    )
    refused, found = not passes(enforced, peer, port), verdict(audit, peer, port)
    assert found.audited is (refused and peer != PARTNER)
    assert found.allowed is (not refused or found.audited)
