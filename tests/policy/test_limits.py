"""Limits and `outbound`, from the policies that say them to the JSON that a sidecar reads."""

from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_network
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_operator.cluster.objects import Namespace, Pod
from handfast_operator.cluster.store import Store
from handfast_operator.policy.census import Census
from handfast_operator.policy.compile import PolicySet, compile_policy
from handfast_operator.policy.status import policy_status
from handfast_operator.resources.parse import parse_cluster_mtls_policy, parse_mtls_policy
from handfast_sidecar.errors import BadInput
from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.policy.limits import MAX_LIMIT, UNLIMITED, Ceiling, Limits, Rate, Share
from handfast_sidecar.policy.outgoing import Exempt, OutboundPolicy, Outgoing, OutgoingRule
from support.objects import pod

Json = Mapping[str, Any]
_numbers = count(1)
WORKLOAD, NAMESPACE, CLUSTER = "MTLSPolicy shop/workload", "MTLSPolicy shop/namespace", "ClusterMTLSPolicy cluster"


def raw(name: str, spec: Json) -> dict[str, Any]:
    """A policy as the API server gives it; each is younger than the one before."""
    meta = {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1"}
    return {"metadata": {**meta, "creationTimestamp": f"{next(_numbers):05d}"}, "spec": spec}


def policies(workload: Json | None = None, namespace: Json | None = None, cluster: Json | None = None) -> PolicySet:
    own = []
    if workload is not None:
        own.append(parse_mtls_policy(raw("workload", {"selector": {"matchLabels": {"app": "orders"}}, **workload})))
    if namespace is not None:
        own.append(parse_mtls_policy(raw("namespace", namespace)))
    wide = []
    if cluster is not None:
        wide.append(parse_cluster_mtls_policy(raw("cluster", cluster)))
    return PolicySet(tuple(wide), {"shop": tuple(own)})


def effective(
    workload: Json | None = None, namespace: Json | None = None, cluster: Json | None = None
) -> EffectivePolicy:
    chosen = policies(workload, namespace, cluster)
    return compile_policy("shop", {"app": "orders"}, {}, chosen, "cluster.local").policy


def test_every_limit_inherits_by_itself_and_names_who_set_it() -> None:
    found = effective(
        {"limits": {"maxConnections": 10}},
        {"limits": {"maxConnections": 20, "perClient": {"maxConnections": 5}}},
        {"limits": {"connectionsPerSecond": 7, "perClient": {"maxConnections": 1}, "handshakesPerSecond": 9}},
    )
    assert found.limits == Limits(
        Share(Ceiling(10, WORKLOAD), Rate(7, 7, CLUSTER)),
        Share(Ceiling(5, NAMESPACE)),
        Rate(9, 9, CLUSTER),
    )


def test_a_burst_belongs_to_its_rate() -> None:
    found = effective({"limits": {"connectionsPerSecond": 2}}, {"limits": {"connectionsPerSecond": 9, "burst": 90}})
    assert found.limits == Limits(Share(rate=Rate(2, 2, WORKLOAD)))
    found = effective({"limits": {"perClient": {"connectionsPerSecond": 2, "burst": 5}}})
    assert found.limits == Limits(client=Share(rate=Rate(2, 5, WORKLOAD)))


def test_without_limits_there_are_none() -> None:
    assert effective({"mode": "Strict"}).limits is None
    assert "limits" not in effective({"mode": "Strict"}).to_json()
    assert "outbound" not in effective({"mode": "Strict"}).to_json()


def test_each_word_of_outbound_inherits_by_itself() -> None:
    found = effective(
        {"outbound": {"unknown": "Allow"}}, None, {"outbound": {"unknown": "Refuse", "plaintext": "Refuse"}}
    )
    assert found.outbound.unknown == OutgoingRule(Outgoing.ALLOW, WORKLOAD)
    assert found.outbound.plaintext == OutgoingRule(Outgoing.REFUSE, CLUSTER)
    assert found.outbound.refuses


def test_exceptions_are_those_of_the_strongest_policy_that_lists_any_even_none() -> None:
    wide = {"outbound": {"except": [{"service": "default/kubernetes"}, {"cidr": "192.0.2.7/24", "ports": [443]}]}}
    assert effective(None, {"mode": "Strict"}, wide).outbound.exempt == (
        Exempt(service="default/kubernetes"),
        Exempt(ip_network("192.0.2.0/24"), ports=frozenset({443})),
    )
    assert effective(None, {"outbound": {"except": []}}, wide).outbound.exempt == ()


def test_an_exception_that_cannot_be_read_excepts_nothing() -> None:
    assert effective({"outbound": {"except": [{"cidr": "::1::2/64"}]}}).outbound.exempt == ()


def test_a_younger_policy_says_which_of_these_fields_it_does_not_decide() -> None:
    said = {
        "limits": {"maxConnections": 1, "perClient": {"connectionsPerSecond": 1}},
        "outbound": {"unknown": "Refuse"},
    }
    older, younger = parse_mtls_policy(raw("a", said)), parse_mtls_policy(raw("b", said))
    nobody = Census("cluster.local", Store[Pod](), Store[Namespace](), lambda: 0.0)
    both = PolicySet((), {"shop": (older, younger)})
    status = policy_status(younger, [(pod("shop", "orders-0"), {})], both, nobody, datetime(2026, 1, 2, tzinfo=UTC))
    [conflicted] = [each for each in status.conditions if each.type == "Conflicted"]
    assert conflicted.status
    assert "limits.maxConnections, limits.perClient.connectionsPerSecond, outbound.unknown" in conflicted.message


NUMBERS = st.integers(1, MAX_LIMIT)
ORIGINS = st.sampled_from([WORKLOAD, CLUSTER])
SHARES = st.builds(
    Share,
    st.none() | st.builds(Ceiling, NUMBERS, ORIGINS),
    st.none() | st.builds(Rate, NUMBERS, NUMBERS, ORIGINS),
)
LIMITS = st.builds(
    Limits, SHARES, SHARES, st.none() | st.builds(lambda n, origin: Rate(n, n, origin), NUMBERS, ORIGINS)
).filter(lambda each: each != Limits())
PORTS = st.none() | st.frozensets(st.integers(1, 65535), max_size=3)
EXEMPT = st.builds(Exempt, st.ip_addresses().map(lambda ip: ip_network(str(ip))), st.just(""), PORTS) | st.builds(
    Exempt, st.none(), st.just("default/kubernetes"), PORTS
)
RULES = st.builds(OutgoingRule, st.sampled_from(Outgoing), ORIGINS)
OUTBOUND = st.builds(OutboundPolicy, RULES, RULES, st.lists(EXEMPT, max_size=3).map(tuple))


@given(LIMITS, OUTBOUND)
def test_what_is_written_is_read_as_the_same_policy(limits: Limits, outbound: OutboundPolicy) -> None:
    policy = EffectivePolicy(limits=limits, outbound=outbound)
    assert EffectivePolicy.from_json(policy.to_json()) == policy


@pytest.mark.parametrize(
    "limits",
    [
        {},
        [],
        None,
        {"maxConnections": 5},
        {"maxConnections": {"value": 0, "from": "p"}},
        {"maxConnections": {"value": True, "from": "p"}},
        {"maxConnections": {"value": 1.5, "from": "p"}},
        {"maxConnections": {"value": 5}},
        {"maxConnections": {"value": 5, "from": ""}},
        {"connectionsPerSecond": {"value": 5, "burst": 0, "from": "p"}},
        {"connectionsPerSecond": []},
        {"perClient": []},
        {"perClient": {"maxConnections": {"value": "5", "from": "p"}}},
        {"handshakesPerSecond": {"value": MAX_LIMIT + 1, "from": "p"}},
    ],
)
def test_limits_that_cannot_be_read_are_no_limits_less(limits: object) -> None:
    with pytest.raises(BadInput, match=r"policy\.limits"):
        EffectivePolicy.from_json({"mode": "Strict", "limits": limits})


@pytest.mark.parametrize(
    "outbound",
    [
        [],
        None,
        {"unknown": "Refuse"},
        {"unknown": {"value": "refuse"}},
        {"plaintext": {}},
        {"plaintext": None},
        {"except": {}},
        {"except": [{}]},
        {"except": [{"cidr": "192.0.2.0/24", "service": "a/b"}]},
        {"except": [{"cidr": "192.0.2.0/33"}]},
        {"except": [{"cidr": 7}]},
        {"except": [{"service": "a/b", "ports": [0]}]},
        {"except": [{"service": "a/b", "ports": ["80"]}]},
        {"except": [{"service": "a/b"}] * 65},
    ],
)
def test_an_outbound_that_cannot_be_read_allows_nothing_more(outbound: object) -> None:
    with pytest.raises(BadInput, match=r"policy\.outbound"):
        EffectivePolicy.from_json({"mode": "Strict", "outbound": outbound})


def test_nothing_set_is_unlimited() -> None:
    assert not UNLIMITED
