"""What is told of a policy that its author can hardly mean, and what is not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from handfast_operator.cluster.objects import ContainerPort, Namespace, Pod
from handfast_operator.cluster.store import Store
from handfast_operator.policy.census import REMEMBERED_S, Census
from handfast_operator.policy.compile import PolicySet
from handfast_operator.policy.doubts import doubtful
from handfast_operator.policy.status import policy_status
from handfast_operator.resources.parse import parse_cluster_mtls_policy, parse_mtls_policy
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy
from support.objects import pod

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
META: dict[str, Any] = {"name": "p", "uid": "u", "resourceVersion": "1", "creationTimestamp": "2026-03-01T11:00:00Z"}
CART = {"from": [{"serviceAccount": "cart"}]}
ORDERS = pod("shop", "orders", labels={"app": "orders"}, service_account="orders", ports=(ContainerPort("http", 8080),))
OTHERS = [pod("shop", "cart", service_account="cart", labels={"app": "cart"}), pod("web", "front")]
EXPLICIT = replace(ORDERS, around=("handfast.dev/interception",))


class World:
    """Pods of two namespaces, and the census of them."""

    def __init__(self, *pods: Pod) -> None:
        self.pods, self.namespaces, self.now = Store[Pod](), Store[Namespace](), 0.0
        self.census = Census("cluster.local", self.pods, self.namespaces, lambda: self.now)
        for name in ("shop", "web"):
            self.namespaces.put(Namespace(name, 1, {}, terminating=False))
        for each in (*OTHERS, *(pods or (ORDERS,))):
            self.pods.put(each)

    def doubt(self, policy: MtlsPolicy | ClusterMtlsPolicy, *others: MtlsPolicy | ClusterMtlsPolicy) -> str:
        """Reason and message of the condition; empty: nothing is doubtful."""
        every = (policy, *others)
        policies = PolicySet(
            tuple(each for each in every if isinstance(each, ClusterMtlsPolicy)),
            {"shop": tuple(each for each in every if isinstance(each, MtlsPolicy))},
        )
        status = policy_status(policy, [(each, {}) for each in self.pods], policies, self.census, NOW)
        [found] = [each for each in status.conditions if each.type == "Doubtful"]
        return f"{found.reason}: {found.message}" if found.status else ""


def namespaced(meta: dict[str, Any] | None = None, **spec: Any) -> MtlsPolicy:
    chosen = {"selector": {"matchLabels": {"app": "orders"}}}
    return parse_mtls_policy({"metadata": {**META, "namespace": "shop", **(meta or {})}, "spec": {**chosen, **spec}})


def clusterwide(**spec: Any) -> ClusterMtlsPolicy:
    return parse_cluster_mtls_policy({"metadata": {**META, "name": "c", "uid": "c"}, "spec": spec})


def from_(**caller: str) -> list[dict[str, Any]]:
    return [{"from": [caller]}]


DOUBTFUL: dict[str, tuple[MtlsPolicy | ClusterMtlsPolicy, str]] = {
    "an empty allow": (namespaced(mode="Strict", allow=[]), "NobodyAllowed: allow names nobody"),
    "an allow of empty lists": (namespaced(mode="Strict", allow=[{"from": []}, {"ports": []}]), "NobodyAllowed"),
    "one empty list": (namespaced(mode="Strict", allow=[CART, {"from": []}]), "EmptyEntry: allow[1] means nobody"),
    "an empty list of ports": (namespaced(mode="Strict", deny=[{"ports": []}]), "EmptyEntry: deny[0] means nobody"),
    "a deny of everybody": (namespaced(mode="Strict", deny=[{}]), "EverybodyDenied: deny[0] names neither"),
    "an allow that a deny takes back": (
        namespaced(mode="Strict", allow=[CART], deny=from_(namespace="shop")),
        "AllowDenied: allow[0] lets nobody in, because MTLSPolicy shop/p denies all whom it names",
    ),
    "a namespace that does not exist": (
        namespaced(mode="Strict", allow=from_(namespace="wbe")),
        "UnknownNamespace: No namespace has this name: wbe (allow[0].from[0]).",
    ),
    "a principal in a namespace that does not exist": (
        namespaced(mode="Strict", deny=from_(principal="spiffe://cluster.local/ns/wbe/*")),
        "UnknownNamespace: No namespace has this name: wbe (deny[0].from[0]).",
    ),
    "a service account of nobody": (
        namespaced(mode="Strict", allow=from_(serviceAccount="crat")),
        "UnknownServiceAccount: No pod runs as this service account: shop/crat (allow[0].from[0]).",
    ),
    "another trust domain": (
        namespaced(mode="Strict", allow=from_(principal="spiffe://partner.example/*")),
        "OtherTrustDomain: Nobody outside the trust domain cluster.local can connect: partner.example",
    ),
    "a path that no identity has": (
        namespaced(mode="Strict", allow=from_(principal="spiffe://cluster.local/shop/cart")),
        "NoSuchIdentity: Nobody can have this identity: spiffe://cluster.local/shop/cart",
    ),
    "a pattern below a service account": (
        namespaced(mode="Strict", allow=from_(principal="spiffe://cluster.local/ns/shop/sa/cart/*")),
        "NoSuchIdentity",
    ),
    "a port that no container declares": (
        namespaced(mode="Strict", allow=[{**CART, "ports": [80]}]),
        "UndeclaredPort: No container of the selected pods declares this port: 80. They declare 8080",
    ),
    "a foreign port that no container declares": (
        namespaced(mode="Strict", foreign={"ports": [443]}),
        "UndeclaredPort",
    ),
    "an allow under Permissive": (
        namespaced(mode="Permissive", allow=[CART]),
        "PlaintextRefused: The mode is Permissive",
    ),
    "an allow where nobody says a mode": (namespaced(allow=[CART]), "PlaintextRefused"),
    "an allow under Disabled": (
        namespaced(mode="Disabled", allow=[CART]),
        "PlaintextHasNoIdentity: The mode is Disabled",
    ),
    "a deny under Disabled": (
        namespaced(mode="Disabled", deny=from_(serviceAccount="cart")),
        "PlaintextPasses: deny names callers",
    ),
    "a foreign port in plaintext": (
        namespaced(mode="Disabled", foreign={"ports": [8080]}),
        "ForeignInPlaintext: foreign opens a port that is Disabled: 8080.",
    ),
    "a final policy that allows plaintext": (
        clusterwide(mode="Permissive", overridable=False),
        "FinalAllowsPlaintext: overridable is false and the mode is Permissive",
    ),
    "a final policy that only audits": (clusterwide(enforcement="Audit", overridable=False), "FinalAudit: "),
    "an audit that was forgotten": (
        namespaced({"creationTimestamp": "2026-01-05T00:00:00Z"}, enforcement="Audit"),
        "StillAudit: enforcement is Audit, and the policy was last changed on 2026-01-05",
    ),
    "a port entry like the mode": (
        namespaced(mode="Strict", ports=[{"port": 8080, "mode": "Strict"}]),
        "PortSaysTheMode: ports says for a port what mode says for all: 8080.",
    ),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_looks_like_a_mistake_is_told_with_what_comes_of_it(name: str) -> None:
    policy, told = DOUBTFUL[name]
    assert World().doubt(policy).startswith(told)


@pytest.mark.parametrize(
    "policy",
    [
        namespaced(mode="Strict"),
        namespaced(mode="Permissive"),
        namespaced(mode="Strict", allow=[CART, *from_(namespace="web"), *from_(principal="spiffe://cluster.local/*")]),
        namespaced(mode="Strict", allow=from_(principal="spiffe://cluster.local/ns/web/sa/default")),
        namespaced(mode="Strict", allow=from_(principal="spiffe://cluster.local/ns/shop/sa/*")),
        namespaced(mode="Strict", allow=from_(namespace="shop"), deny=from_(serviceAccount="cart")),
        namespaced(mode="Strict", allow=[CART], deny=[{**CART, "ports": [8080]}]),
        namespaced(mode="Strict", allow=from_(spkiSHA256="ab" * 32), deny=from_(serviceAccount="cart")),
        namespaced(mode="Strict", ports=[{"port": 8080, "mode": "Permissive"}], foreign={"ports": [8080]}),
        namespaced(mode="Strict", foreign={"ports": []}),
        namespaced(enforcement="Audit"),
        clusterwide(mode="Strict", enforcement="Enforce", overridable=False),
        clusterwide(mode="Permissive"),
    ],
    ids=lambda policy: str(policy.spec),
)
def test_what_can_be_meant_is_not_doubted(policy: MtlsPolicy) -> None:
    assert World().doubt(policy) == ""


def test_a_deny_of_the_cluster_that_takes_back_an_allow_is_named() -> None:
    policy = namespaced(mode="Strict", allow=from_(namespace="web"))
    told = World().doubt(policy, clusterwide(deny=from_(namespace="web")))
    assert "because ClusterMTLSPolicy c denies all whom it names" in told


def test_ports_are_doubted_only_where_every_container_declares_some() -> None:
    silent = replace(ORDERS, name="silent", uid="uid-silent", ports=())
    only_ours = replace(ORDERS, ports=(ContainerPort("metrics", 14020),))
    policy = namespaced(mode="Strict", ports=[{"port": 9090, "mode": "Permissive"}])
    assert "UndeclaredPort" in World().doubt(policy)
    assert World(ORDERS, silent).doubt(policy) == ""
    assert World(only_ours).doubt(policy) == "", "that port is the sidecar's"
    assert World(pod("shop", "other")).doubt(policy) == "", "it selects nobody"


def test_foreign_ports_where_nothing_is_redirected_are_doubted() -> None:
    policy = namespaced(mode="Strict", foreign={"ports": [8080]})
    assert World(EXPLICIT).doubt(policy).startswith("ForeignNotServed: foreign has no effect")
    assert World(EXPLICIT, replace(ORDERS, name="o", uid="o")).doubt(policy) == ""


def test_an_audit_counts_from_the_last_change_of_the_spec_and_not_of_the_status() -> None:
    def written(spec_at: str, status_at: str) -> MtlsPolicy:
        fields = [
            {"time": spec_at, "fieldsV1": {"f:spec": {}}},
            {"time": status_at, "fieldsV1": {"f:status": {}}},
        ]
        made = {"creationTimestamp": "2025-01-01T00:00:00Z", "managedFields": fields}
        return namespaced(made, enforcement="Audit")

    assert World().doubt(written("2026-02-27T00:00:00Z", "2026-02-28T00:00:00Z")) == ""
    assert "2026-02-01" in World().doubt(written("2026-02-01T00:00:00Z", "2026-02-28T00:00:00Z"))


def test_a_service_account_is_known_for_an_hour_after_its_last_pod() -> None:
    world = World()
    policy = namespaced(mode="Strict", allow=[CART])
    world.pods.remove(("shop", "cart"), 2)
    assert world.doubt(policy) == ""
    world.now += timedelta(seconds=REMEMBERED_S).total_seconds()
    assert "UnknownServiceAccount" in world.doubt(policy)
    world.pods.put(OTHERS[0])
    assert world.doubt(policy) == ""


def test_several_doubts_are_one_condition_whose_reason_is_the_gravest() -> None:
    told = World().doubt(namespaced(mode="Disabled", allow=from_(namespace="wbe"), deny=[{}]))
    assert told.startswith("EverybodyDenied: ")
    for sentence in ("allow[0] lets nobody in", "The mode is Disabled", "No namespace has this name: wbe"):
        assert sentence in told


def test_a_long_list_of_names_is_cut() -> None:
    callers = [{"serviceAccount": f"a{number}"} for number in range(9)]
    told = World().doubt(namespaced(mode="Strict", allow=[{"from": callers}]))
    assert "shop/a4 (allow[0].from[4]) and 4 more." in told


def test_without_a_doubt_the_condition_says_so() -> None:
    assert (doubtful([]).status, doubtful([]).reason) == (False, "NothingDoubtful")
