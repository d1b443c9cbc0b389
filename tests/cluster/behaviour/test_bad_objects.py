"""Objects that cannot mean anything are refused by the API server, with a sentence that says what to do."""

from typing import Any

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.errors import ClusterError
from cluster.kube.manifests import Manifest
from cluster.mesh import cluster_policy, policy
from cluster.release import Release


def trust_domain(name: str, spec: dict[str, Any]) -> Manifest:
    return {"apiVersion": "handfast.dev/v1alpha1", "kind": "TrustDomain", "metadata": {"name": name}, "spec": spec}


def namespaced(**spec: Any) -> Manifest:
    return policy("HERE", "bad", **spec)


def port(number: int, mode: str = "Strict") -> dict[str, Any]:
    return {"port": number, "mode": mode}


BAD: dict[str, tuple[Manifest, str]] = {
    "no spec": ({**namespaced(), "spec": None}, "spec"),
    "an empty policy": (namespaced(), "the policy says nothing: set mode, ports, foreign"),
    "an unknown mode": (namespaced(mode="strict"), 'supported values: "Strict", "Permissive", "Disabled"'),
    "a port that promotes itself": (
        namespaced(ports=[port(80, "Auto")]),
        "a port is Strict, Permissive or Disabled, or has no entry and follows spec.mode",
    ),
    "a time until promotion of what is not Auto": (
        namespaced(mode="Permissive", promoteAfter="1h"),
        "set mode to Auto, or leave promoteAfter out",
    ),
    "a time until promotion in days": (namespaced(mode="Auto", promoteAfter="1d"), "such as 24h or 1h30m"),
    "less than a minute until promotion": (namespaced(mode="Auto", promoteAfter="59s"), "must be from 1m"),
    "more than thirty days until promotion": (cluster_policy("bad", mode="Auto", promoteAfter="721h"), "to 720h"),
    "a misspelt field": (namespaced(mode="Strict", selctor={}), 'unknown field "spec.selctor"'),
    "an empty selector": (namespaced(mode="Strict", selector={}), "leave selector out to mean the whole namespace"),
    "an empty matchLabels": (
        namespaced(mode="Strict", selector={"matchLabels": {}}),
        "leave selector out to mean the whole namespace",
    ),
    "an unknown operator": (
        namespaced(mode="Strict", selector={"matchExpressions": [{"key": "a", "operator": "Like", "values": ["b"]}]}),
        'supported values: "In"',
    ),
    "In without values": (
        namespaced(mode="Strict", selector={"matchExpressions": [{"key": "a", "operator": "In"}]}),
        "operators In and NotIn need values",
    ),
    "Exists with values": (
        namespaced(mode="Strict", selector={"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}),
        "take no values",
    ),
    "port 0": (namespaced(ports=[port(0)]), "a number from 1 to 65535"),
    "port 70000": (namespaced(ports=[port(70000)]), "a number from 1 to 65535"),
    "a port of the sidecar": (namespaced(ports=[port(14008)]), "name a port of your application"),
    "a port twice": (namespaced(ports=[port(80), port(80, "Disabled")]), "Duplicate value"),
    "a port without a mode": (namespaced(ports=[{"port": 80}]), "spec.ports[0].mode: Required value"),
    "foreign without ports": (namespaced(foreign={}), "spec.foreign.ports: Required value"),
    "a foreign port of the sidecar": (namespaced(foreign={"ports": [14006]}), "name a port of your application"),
    "a foreign port twice": (namespaced(foreign={"ports": [80, 80]}), "Duplicate value"),
    "an old TLS": (
        namespaced(foreign={"ports": [80], "minVersion": "1.1"}),
        'spec.foreign.minVersion: Unsupported value: "1.1"',
    ),
    "a TLS version that YAML takes for a number": (
        namespaced(foreign={"ports": [80], "minVersion": 1.2}),
        "spec.foreign.minVersion",
    ),
    "an empty certificate": (namespaced(certificate={}), "set ttl, or leave certificate out"),
    "a ttl in days": (namespaced(certificate={"ttl": "1d"}), "such as 24h or 1h30m"),
    "an empty ttl": (namespaced(certificate={"ttl": ""}), "such as 24h or 1h30m"),
    "a ttl below five minutes": (namespaced(certificate={"ttl": "4m59s"}), "must be from 5m"),
    "a ttl above thirty days": (namespaced(certificate={"ttl": "721h"}), "to 720h"),
    "a ttl of ages": (namespaced(certificate={"ttl": "999999999h"}), "at most 720h"),
    "a cluster policy that says nothing": (cluster_policy("bad"), "the policy says nothing: set mode, ports, foreign"),
    "empty limits": (namespaced(limits={}), "limits says nothing"),
    "a burst of no rate": (namespaced(limits={"burst": 5}), "set connectionsPerSecond beside it"),
    "a limit of 0": (namespaced(limits={"perClient": {"maxConnections": 0}}), "a number from 1 to 1000000"),
    "an empty outbound": (namespaced(outbound={}), "outbound says nothing"),
    "an exception of two things": (
        cluster_policy("bad", outbound={"except": [{"cidr": "192.0.2.0/24", "service": "a/b"}]}),
        "set cidr or service, and not both",
    ),
    "an exception of no network": (
        namespaced(outbound={"except": [{"cidr": "192.0.2.7"}]}),
        "cidr is a network, such as 192.0.2.0/24",
    ),
    "a cluster policy with an empty selector": (
        cluster_policy("bad", mode="Strict", namespaceSelector={}),
        "leave namespaceSelector out to mean every namespace",
    ),
    "a cluster policy with a pod selector": (
        cluster_policy("bad", mode="Strict", selector={"matchLabels": {"a": "b"}}),
        'unknown field "spec.selector"',
    ),
    "a trust domain without an issuer": (trust_domain("bad.example", {}), "spec.issuer: Required value"),
    "an issuer of no kind": (trust_domain("bad.example", {"issuer": {}}), "issuer needs one of selfSigned"),
    "an issuer of two kinds": (
        trust_domain("bad.example", {"issuer": {"selfSigned": {}, "secretRef": {"name": "handfast-issuer"}}}),
        "issuer needs one of selfSigned",
    ),
    "an issuer in another namespace": (
        trust_domain("bad.example", {"issuer": {"secretRef": {"name": "other/handfast-issuer"}}}),
        "a Secret in the operator's namespace",
    ),
    "a root that lives an hour": (
        trust_domain("bad.example", {"issuer": {"selfSigned": {"ttl": "1h"}}}),
        "from 24h to 87600h",
    ),
    "a root life that is no duration": (
        trust_domain("bad.example", {"issuer": {"selfSigned": {"ttl": "soon"}}}),
        "such as 2160h",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_object_is_refused_with_what_to_do(
    cluster: Cluster, handfast: Release, module_namespace_name: str, name: str
) -> None:
    manifest, sentence = BAD[name]
    if "namespace" in manifest["metadata"]:
        manifest = {**manifest, "metadata": {**manifest["metadata"], "namespace": module_namespace_name}}
    with pytest.raises(ClusterError) as refused:
        cluster.apply([manifest])
    assert sentence in str(refused.value)


def test_a_good_object_passes(cluster: Cluster, handfast: Release, module_namespace_name: str) -> None:
    cluster.apply(
        [
            policy(
                module_namespace_name,
                "good",
                selector={
                    "matchLabels": {"app": "orders"},
                    "matchExpressions": [{"key": "tier", "operator": "Exists"}],
                },
                mode="Strict",
                ports=[port(9090, "Permissive")],
                certificate={"ttl": "1h30m"},
            )
        ]
    )
    columns = cluster("get", "mtls", "-n", module_namespace_name).splitlines()[0].split()
    assert columns == ["NAME", "MODE", "PROMOTION", "PODS", "UNMESHED", "READY", "REASON", "AGE"]


@pytest.fixture(scope="module")
def module_namespace_name(module_namespace: NamespaceFactory) -> str:
    return module_namespace("objects")
