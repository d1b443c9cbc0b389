"""What a final policy says of itself and of those it overrules, and of the pods that it does not hold for."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from handfast_operator.cluster.objects import Namespace, Pod, parse_pod
from handfast_operator.cluster.store import Store
from handfast_operator.policy.census import Census
from handfast_operator.policy.compile import PolicySet
from handfast_operator.policy.final import INBOUND, OUTBOUND, demands
from handfast_operator.policy.status import policy_status
from handfast_operator.resources.conditions import Condition
from handfast_operator.resources.parse import parse_cluster_mtls_policy, parse_mtls_policy
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy, Policy
from support.objects import pod

SKIP = "handfast.dev/skip-inbound-ports"
CART = pod("shop", "cart")


def clusterwide(name: str = "floor", created: int = 1, **spec: Any) -> ClusterMtlsPolicy:
    meta = {"name": name, "uid": name, "resourceVersion": "1", "creationTimestamp": f"2026-01-{created:02}T00:00:00Z"}
    return parse_cluster_mtls_policy({"metadata": meta, "spec": spec})


def final(name: str = "floor", created: int = 1, **spec: Any) -> ClusterMtlsPolicy:
    return clusterwide(name, created, overridable=False, **spec)


def namespaced(**spec: Any) -> MtlsPolicy:
    meta = {"namespace": "shop", "name": "own", "uid": "own", "resourceVersion": "1"}
    return parse_mtls_policy({"metadata": {**meta, "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec})


def conditions(policy: Policy, *others: Policy, pods: tuple[Pod, ...] = (CART,)) -> dict[str, Condition]:
    every = (policy, *others)
    policies = PolicySet(
        tuple(each for each in every if isinstance(each, ClusterMtlsPolicy)),
        {"shop": tuple(each for each in every if isinstance(each, MtlsPolicy))},
    )
    census = Census("cluster.local", Store[Pod](), Store[Namespace](), lambda: 0.0)
    status = policy_status(policy, [(each, {}) for each in pods], policies, census, datetime(2026, 1, 2, tzinfo=UTC))
    return {each.type: each for each in status.conditions}


@pytest.mark.parametrize(
    ("own", "floor", "fields"),
    [
        ({"mode": "Permissive"}, {"mode": "Strict"}, "mode"),
        ({"ports": [{"port": 80, "mode": "Disabled"}]}, {"mode": "Strict"}, "ports[80]"),
        ({"enforcement": "Audit"}, {"enforcement": "Enforce"}, "enforcement"),
        (
            {"mode": "Permissive", "ports": [{"port": 80, "mode": "Strict"}, {"port": 81, "mode": "Strict"}]},
            {"ports": [{"port": 80, "mode": "Permissive"}]},
            "ports[80]",
        ),
    ],
)
def test_a_field_that_a_final_policy_decides_is_told_in_the_policy_that_says_it(
    own: dict[str, Any], floor: dict[str, Any], fields: str
) -> None:
    found = conditions(namespaced(**own), final(**floor))["Conflicted"]
    assert (found.status, found.reason) == (True, "ClusterPolicyFinal")
    assert found.message == (
        f"For some pods, ClusterMTLSPolicy floor may not be overridden and decides {fields}. "
        "Remove the fields from this policy."
    )


def test_what_no_final_policy_decides_is_no_conflict() -> None:
    own = namespaced(mode="Permissive", allow=[], deny=[{}], certificate={"ttl": "1h"}, foreign={"ports": [80]})
    assert not conditions(own, final(enforcement="Enforce"))["Conflicted"].status
    assert not conditions(own, clusterwide(mode="Strict"))["Conflicted"].status


def test_of_two_final_policies_the_younger_says_so_and_the_older_does_not() -> None:
    older, younger = final("a", 1, mode="Strict"), final("b", 2, mode="Permissive")
    assert conditions(younger, older)["Conflicted"].reason == "OlderPolicyWins"
    assert not conditions(older, younger)["Conflicted"].status


def test_a_final_policy_beats_an_older_one_that_may_be_overridden() -> None:
    older, younger = clusterwide("a", 1, mode="Permissive"), final("b", 2, mode="Strict")
    assert not conditions(younger, older)["Conflicted"].status
    assert conditions(older, younger)["Conflicted"].reason == "ClusterPolicyFinal"


def test_pods_that_go_around_a_final_policy_are_named_in_its_condition() -> None:
    around = [replace(pod("shop", f"s-{n}", owner="StatefulSet/s"), around=(SKIP,)) for n in range(2)]
    found = conditions(final(mode="Strict"), pods=(CART, *around))["Evaded"]
    assert (found.status, found.reason) == (True, "PodsGoAround")
    assert found.message == (
        "2 pods are older than what the policy demands and go around it, by annotations: StatefulSet shop/s "
        "(handfast.dev/skip-inbound-ports). Remove the annotations, and restart the pods."
    )
    assert not conditions(final(mode="Strict"))["Evaded"].status
    assert not conditions(final(mode="Permissive"), pods=(CART, *around))["Evaded"].status
    assert "Evaded" not in conditions(clusterwide(mode="Strict"))


def test_a_final_policy_names_the_workloads_without_a_sidecar() -> None:
    bare = pod("shop", "bare", meshed=False, owner="DaemonSet/agent")
    assert "1 pod without a sidecar is selected and not protected (DaemonSet shop/agent)." in (
        conditions(final(mode="Strict"), pods=(CART, bare))["Ready"].message
    )


@pytest.mark.parametrize(
    ("spec", "forbidden"),
    [
        ({"mode": "Strict"}, {*INBOUND, *OUTBOUND}),
        ({"mode": "Permissive"}, set()),
        ({"mode": "Permissive", "ports": [{"port": 80, "mode": "Strict"}]}, {*INBOUND}),
        ({"enforcement": "Enforce"}, set()),
        ({"outbound": {"plaintext": "Refuse"}}, {*OUTBOUND}),
        ({"outbound": {"unknown": "Allow"}}, set()),
    ],
)
def test_what_a_final_policy_forbids_follows_from_what_it_demands(spec: dict[str, Any], forbidden: set[str]) -> None:
    assert {name for demand in demands([final(**spec)]) for name in demand.forbids} == forbidden
    assert demands([clusterwide(**spec)]) == ()


def test_lists_that_are_too_long_are_not_accepted_and_their_policies_say_so() -> None:
    callers = [{"namespace": f"team-{number}"} for number in range(9000)]
    own = namespaced(deny=[{"from": callers[:1]}])
    assert conditions(own)["Accepted"].status
    long = final(deny=[{"from": callers}])
    for policy, other in ((own, long), (long, own)):
        accepted = conditions(policy, other)["Accepted"]
        assert (accepted.status, accepted.reason) == (False, "ListsTooLong")
        assert "nobody may connect" in accepted.message


def test_of_two_final_modes_only_the_one_that_decides_demands() -> None:
    assert demands([final("a", 1, mode="Permissive"), final("b", 2, mode="Strict")]) == ()


def test_how_a_pod_goes_around_is_read_from_its_containers_and_not_from_its_annotations() -> None:
    def parsed(init: dict[str, str], proxy: dict[str, str], annotations: dict[str, str] | None = None) -> Pod:
        def env(values: dict[str, str]) -> list[dict[str, str]]:
            return [{"name": name, "value": value} for name, value in values.items()]

        containers = [
            {"name": "handfast-init", "env": env(init)},
            {"name": "handfast-proxy", "restartPolicy": "Always", "env": env(proxy)},
        ]
        volume = {"name": "handfast-identity", "secret": {"secretName": "s"}}
        meta = {"namespace": "shop", "name": "p", "uid": "u", "resourceVersion": "1", "annotations": annotations or {}}
        return parse_pod({"metadata": meta, "spec": {"initContainers": containers, "volumes": [volume]}})

    assert parsed({"HANDFAST_SKIP_INBOUND_PORTS": "80"}, {}).around == (SKIP,)
    assert parsed({"HANDFAST_SKIP_OUTBOUND_PORTS": "80", "HANDFAST_SKIP_OUTBOUND_CIDRS": "10.0.0.0/8"}, {}).around == (
        "handfast.dev/skip-outbound-ports",
        "handfast.dev/skip-outbound-cidrs",
    )
    assert parsed({}, {"HANDFAST_INTERCEPTION": "none"}).around == ("handfast.dev/interception",)
    assert parsed({}, {}, {SKIP: "80"}).around == ()
