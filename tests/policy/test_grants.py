"""What a grant does: it extends the allow that decides for the pods of its own namespace, and nothing else."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_operator.cluster.objects import Namespace, Pod
from handfast_operator.cluster.store import Store
from handfast_operator.policy.access import MAX_GRANTS
from handfast_operator.policy.compile import PolicySet, compile_policy
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.access import AccessGrant
from handfast_operator.resources.parse import parse_mtls_policy
from handfast_operator.resources.parse_access import parse_access_grant, parse_access_request
from handfast_operator.resources.policies import AccessRule, Caller, ClusterMtlsPolicy, MtlsPolicy, PolicySpec
from handfast_operator.resources.times import format_time
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.verdict import Verdict, tunnel_verdict
from support.access import grant, grant_body, request_body, stored
from support.objects import pod
from support.virtual_time import START

NOW = START.timestamp()
CLOSED = PolicySpec(allow=(AccessRule((Caller(service_account="cart"),)),))
LABELS = {"app": "orders"}


def policy(spec: PolicySpec, name: str = "orders", namespace: str = "shop") -> MtlsPolicy:
    return MtlsPolicy(namespace, name, f"uid-{name}", 1, 1, "2026-01-01T00:00:00Z", None, spec)


def judged(
    grants: list[AccessGrant], *policies: MtlsPolicy, who: str = "web/front", port: int = 8080, now: float = NOW
) -> Verdict:
    by_namespace: dict[str, tuple[AccessGrant, ...]] = {}
    for each in grants:
        by_namespace[each.namespace] = (*by_namespace.get(each.namespace, ()), each)
    found = compile_policy("shop", LABELS, {}, PolicySet((), {"shop": policies}, by_namespace), "cluster.local")
    namespace, account = who.split("/")
    peer = SpiffeId.of_service_account("cluster.local", namespace, account)
    return tunnel_verdict(found.policy, peer, "cluster.local", port, clock=lambda: now)


def test_a_grant_lets_in_whom_the_allow_leaves_out_and_is_named() -> None:
    assert not judged([], policy(CLOSED)).allowed
    verdict = judged([grant()], policy(CLOSED))
    assert (verdict.allowed, verdict.rule) == (True, "AccessGrant shop/g")


def test_a_grant_extends_an_allow_of_the_whole_cluster_too() -> None:
    everywhere = ClusterMtlsPolicy("c", "uid-c", 1, 1, "2026-01-01T00:00:00Z", None, PolicySpec(allow=()))
    found = compile_policy("shop", LABELS, {}, PolicySet((everywhere,), {}, {"shop": (grant(),)}), "cluster.local")
    peer = SpiffeId.of_service_account("cluster.local", "web", "front")
    assert tunnel_verdict(found.policy, peer, "cluster.local", 8080, clock=lambda: NOW).allowed


def test_where_no_policy_has_an_allow_a_grant_closes_nothing() -> None:
    assert judged([grant()], who="web/another").allowed
    assert judged([grant()], policy(PolicySpec()), port=9).allowed


@pytest.mark.parametrize(
    ("who", "port", "spec"),
    [
        ("web/another", 8080, {}),
        ("shop/front", 8080, {}),
        ("web/front", 8081, {}),
        ("web/front", 8080, {"selector": {"matchLabels": {"app": "web"}}}),
        ("web/front", 8080, {"decision": "Deny", "expiresAt": None}),
        ("web/front", 8080, {"decision": "Deny"}),
    ],
)
def test_a_grant_means_no_more_than_it_says(who: str, port: int, spec: dict[str, Any]) -> None:
    assert not judged([grant(**spec)], policy(CLOSED), who=who, port=port).allowed


def test_a_grant_without_ports_is_for_every_port() -> None:
    assert judged([grant(ports=None)], policy(CLOSED), port=1).allowed


def test_a_grant_of_another_namespace_opens_nothing_here_whatever_it_says() -> None:
    foreign = grant(namespace="web", request={"namespace": "web", "name": "front", "uid": "uid-web-front"})
    assert not judged([foreign], policy(CLOSED)).allowed
    misplaced = compile_policy(
        "shop", LABELS, {}, PolicySet((), {"shop": (policy(CLOSED),)}, {"shop": (foreign,)}), "cluster.local"
    )
    assert "AccessGrant" not in str(misplaced.policy.to_json())


ACCOUNTS = st.sampled_from(["front", "back", "cart"])
NAMESPACES = st.sampled_from(["web", "shop"])
PORTS = st.one_of(st.none(), st.frozensets(st.sampled_from([80, 8080]), min_size=1))
CALLERS = st.one_of(st.none(), st.lists(st.builds(Caller, ACCOUNTS, NAMESPACES), max_size=2).map(tuple))
DENY = st.lists(st.builds(AccessRule, CALLERS, PORTS), max_size=3).map(tuple)
HOURS = st.integers(-3, 3)


@st.composite
def grants(draw: st.DrawFn) -> AccessGrant:
    ports = draw(PORTS)
    accounts = draw(st.lists(ACCOUNTS, min_size=1, max_size=2, unique=True))
    spec: dict[str, Any] = {
        "from": {"namespace": draw(NAMESPACES), "serviceAccounts": accounts},
        "ports": None if ports is None else sorted(ports),
        "expiresAt": format_time(START + timedelta(hours=draw(HOURS))),
    }
    return grant(f"g{draw(st.integers(0, 99))}", **spec)


@given(st.lists(grants(), max_size=4), DENY, ACCOUNTS, NAMESPACES, st.sampled_from([80, 8080, 9]), HOURS)
def test_a_grant_never_lets_in_who_is_denied_nor_anybody_after_its_end(
    given_grants: list[AccessGrant], deny: tuple[AccessRule, ...], account: str, namespace: str, port: int, hours: int
) -> None:
    now = (START + timedelta(hours=hours)).timestamp()
    closed, who = PolicySpec(allow=(), deny=deny), f"{namespace}/{account}"
    denied = any(
        (rule.callers is None or Caller(account, namespace) in rule.callers)
        and (rule.ports is None or port in rule.ports)
        for rule in deny
    )
    granted = any(
        each.until > now
        and each.callers.namespace == namespace
        and account in each.callers.service_accounts
        and (each.ports is None or port in each.ports)
        for each in given_grants
    )
    verdict = judged(given_grants, policy(closed), who=who, port=port, now=now)
    assert verdict.allowed == (granted and not denied)


def test_of_very_many_grants_the_oldest_have_effect_on_a_pod() -> None:
    many = [
        grant(f"g{number:03}", created=START + timedelta(seconds=number), ports=[number])
        for number in range(1, MAX_GRANTS + 2)
    ]
    assert judged(many, policy(CLOSED), port=MAX_GRANTS).allowed
    assert not judged(many, policy(CLOSED), port=MAX_GRANTS + 1).allowed


# --- in the index


class World:
    """A closed shop with one pod, its index, and who was told."""

    def __init__(self) -> None:
        self.now = NOW
        self.pods, self.namespaces = Store[Pod](), Store[Namespace]()
        self.policies, self.cluster = Store[MtlsPolicy](), Store[ClusterMtlsPolicy]()
        self.grants = Store[AccessGrant]()
        self.index = PolicyIndex(
            self.pods, self.namespaces, self.policies, self.cluster, "cluster.local", self.grants, lambda: self.now
        )
        self.orders = pod("shop", "orders", labels=LABELS)
        self.pods.put(self.orders)
        self.policies.put(policy(CLOSED))
        self.index.compiled(self.orders)
        self.told: list[str] = []
        self.index.subscribe(lambda each: self.told.append(each.name))

    @property
    def granted(self) -> bool:
        return "AccessGrant" in str(self.index.compiled(self.orders).policy.to_json())


def test_a_grant_is_told_to_the_pods_of_its_namespace_and_raises_the_revision() -> None:
    world = World()
    world.grants.put(made := grant())
    assert (world.told, world.granted, world.index.revision) == (["orders"], True, made.resource_version)
    world.grants.put(grant(namespace="web"))
    assert world.told == ["orders"]


def test_a_deleted_grant_ends() -> None:
    world = World()
    world.grants.put(grant())
    world.grants.remove(("shop", "g"), 999)
    assert (world.told, world.granted, world.index.next_expiry) == (["orders", "orders"], False, None)


def test_a_status_update_of_a_grant_is_no_change() -> None:
    world = World()
    world.grants.put(grant())
    world.grants.put(grant())
    assert world.told == ["orders"]


def test_a_grant_that_comes_after_its_end_is_none() -> None:
    world = World()
    world.now += timedelta(hours=9).total_seconds()
    world.grants.put(grant())
    assert (world.told, world.granted, world.index.next_expiry) == ([], False, None)


def test_at_its_end_a_grant_is_taken_from_the_policy_and_the_others_stay() -> None:
    world = World()
    first, second = START + timedelta(hours=1), START + timedelta(hours=2)
    world.grants.put(grant("first", expiresAt=format_time(first)))
    world.grants.put(grant("second", expiresAt=format_time(second)))
    assert world.index.next_expiry == first.timestamp()
    world.index.expire(first.timestamp() - 1)
    assert world.told == ["orders", "orders"]
    world.index.expire(first.timestamp())
    assert (len(world.told), world.index.next_expiry) == (3, second.timestamp())
    assert "shop/second" in str(world.index.compiled(world.orders).policy.to_json())
    world.index.expire(second.timestamp())
    assert not world.granted
    assert world.index.next_expiry is None


# --- as the API server gives them


@pytest.mark.parametrize(
    "spec",
    [
        {"expiresAt": None},
        {"expiresAt": "tomorrow"},
        {"selector": {}},
        {"selector": {"matchLabels": {}}},
        {"from": {"namespace": "web", "serviceAccounts": []}},
        {"from": {"namespace": "web", "serviceAccounts": ["../front"]}},
        {"from": {"namespace": "*", "serviceAccounts": ["front"]}},
        {"decision": "Maybe"},
    ],
)
def test_a_grant_that_the_schema_should_have_kept_out_is_not_understood(spec: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        parse_access_grant(stored(grant_body(**spec)))


def test_an_end_may_be_written_in_any_zone_and_in_small_letters() -> None:
    ends = {grant(expiresAt=text).until for text in ("2026-03-01T14:00:00+02:00", "2026-03-01t12:00:00.9z")}
    assert ends == {int(NOW)}


def test_a_request_is_for_service_accounts_of_its_own_namespace() -> None:
    asked = parse_access_request(stored(request_body(serviceAccounts=["front", "back"])))
    assert str(asked.callers) == "web/front, web/back"
    with pytest.raises(ValueError, match="no name"):
        parse_access_request(stored(request_body(serviceAccounts=["shop/cart"])))


def test_a_policy_is_compiled_as_before_where_nobody_grants_anything() -> None:
    raw = {
        "metadata": {
            "namespace": "shop",
            "name": "p",
            "uid": "u",
            "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"allow": [{"from": [{"serviceAccount": "cart"}]}]},
    }
    found = compile_policy("shop", LABELS, {}, PolicySet((), {"shop": (parse_mtls_policy(raw),)}), "cluster.local")
    assert "until" not in str(found.policy.to_json())
