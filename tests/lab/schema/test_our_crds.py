"""What Handfast's own CRDs refuse, in the sentences that Kubernetes 1.36.3 says (asked of its own code)."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from handfast_lab.api.schema import CustomSchema

Json = dict[str, Any]

CRDS = Path(__file__).parent.parent.parent.parent / "crds"
UNCHECKED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)
NO_CERTIFICATE = "spec.certificate: Invalid value: certificate says nothing: set ttl, or leave certificate out"
NO_DURATION = "ttl is a duration in hours, minutes and seconds, such as 24h or 1h30m"
OUT_OF_RANGE = "ttl must be from 5m (kubelet needs up to 100 seconds to project a new certificate) to 720h"
SAYS_NOTHING = "spec: Invalid value: the policy says nothing: set mode, ports, foreign or certificate.ttl"
NO_PORT = "a container port is a number from 1 to 65535"
SIDECARS_PORT = "ports 14001, 14006, 14008 and 14020 belong to the sidecar: name a port of your application"
EMPTY_SELECTOR = (
    "spec.selector: Invalid value: an empty selector selects nothing in particular: "
    "write matchLabels or matchExpressions, or leave selector out to mean the whole namespace"
)
EMPTY_NAMESPACE_SELECTOR = (
    "spec.namespaceSelector: Invalid value: an empty namespaceSelector selects nothing in particular: "
    "write matchLabels or matchExpressions, or leave namespaceSelector out to mean every namespace"
)
NO_OPERATOR = (
    'spec.selector.matchExpressions[0].operator: Unsupported value: "Like": '
    'supported values: "In", "NotIn", "Exists", "DoesNotExist"'
)
NO_ROOT_LIFE = (
    'spec.issuer.selfSigned.ttl: Invalid value: "soon": ttl is a duration in hours, minutes and seconds, such as 2160h'
)
NO_TRUST_DOMAIN = (
    "<nil>: Invalid value: a TrustDomain's name is the trust domain itself: "
    "lower-case letters, digits, '.', '-' and '_', such as cluster.local"
)
MODES = 'supported values: "Strict", "Permissive", "Disabled"'


def policy(**spec: Any) -> Json:
    return {"apiVersion": "handfast.dev/v1alpha1", "kind": "MTLSPolicy", "metadata": {"name": "it"}, "spec": spec}


def cluster_policy(**spec: Any) -> Json:
    return {**policy(**spec), "kind": "ClusterMTLSPolicy"}


def trust_domain(spec: Json, name: str = "bad.example") -> Json:
    return {"apiVersion": "handfast.dev/v1alpha1", "kind": "TrustDomain", "metadata": {"name": name}, "spec": spec}


def expression(**of: Any) -> Json:
    return policy(mode="Strict", selector={"matchExpressions": [{"key": "a", **of}]})


def root_that_lives(ttl: str) -> Json:
    return trust_domain({"issuer": {"selfSigned": {"ttl": ttl}}})


def schema(obj: Json) -> CustomSchema:
    crd = yaml.safe_load((CRDS / f"{obj['kind'].lower().replace('policy', 'policie')}s.yaml").read_text())
    return CustomSchema.of(crd, "v1alpha1")


def said(obj: Json, old: Json | None = None) -> list[str]:
    return schema(obj).problems(schema(obj).default(obj), old)


BAD: dict[str, tuple[Json, list[str]]] = {
    "no spec": ({**policy(), "spec": None}, ["spec: Required value", UNCHECKED]),
    "an empty policy": (policy(), [SAYS_NOTHING]),
    "an unknown mode": (policy(mode="strict"), [f'spec.mode: Unsupported value: "strict": {MODES}', UNCHECKED]),
    "an empty selector": (policy(mode="Strict", selector={}), [EMPTY_SELECTOR]),
    "an empty matchLabels": (policy(mode="Strict", selector={"matchLabels": {}}), [EMPTY_SELECTOR]),
    "an unknown operator": (
        expression(operator="Like", values=["b"]),
        [NO_OPERATOR, UNCHECKED],
    ),
    "In without values": (
        expression(operator="In"),
        ["spec.selector.matchExpressions[0]: Invalid value: operators In and NotIn need values"],
    ),
    "Exists with values": (
        expression(operator="Exists", values=["b"]),
        ["spec.selector.matchExpressions[0]: Invalid value: operators Exists and DoesNotExist take no values"],
    ),
    "a value twice": (
        expression(operator="In", values=["b", "b"]),
        ['spec.selector.matchExpressions[0].values[1]: Duplicate value: "b"'],
    ),
    "port 0": (policy(ports=[{"port": 0, "mode": "Strict"}]), [f"spec.ports[0].port: Invalid value: 0: {NO_PORT}"]),
    "port 70000": (
        policy(ports=[{"port": 70000, "mode": "Strict"}]),
        [f"spec.ports[0].port: Invalid value: 70000: {NO_PORT}"],
    ),
    "a port of the sidecar": (
        policy(ports=[{"port": 14008, "mode": "Strict"}]),
        [f"spec.ports[0].port: Invalid value: 14008: {SIDECARS_PORT}"],
    ),
    "a port twice": (
        policy(ports=[{"port": 80, "mode": "Strict"}, {"port": 80, "mode": "Disabled"}]),
        ['spec.ports[1]: Duplicate value: {"port":80}'],
    ),
    "a port without a mode": (policy(ports=[{"port": 80}]), ["spec.ports[0].mode: Required value", UNCHECKED]),
    "foreign without ports": (policy(foreign={}), ["spec.foreign.ports: Required value", UNCHECKED]),
    "a foreign port 0": (policy(foreign={"ports": [0]}), [f"spec.foreign.ports[0]: Invalid value: 0: {NO_PORT}"]),
    "a foreign port of the sidecar": (
        cluster_policy(foreign={"ports": [8443, 14006]}),
        [f"spec.foreign.ports[1]: Invalid value: 14006: {SIDECARS_PORT}"],
    ),
    "a foreign port twice": (
        policy(foreign={"ports": [80, 80]}),
        ["spec.foreign.ports[1]: Duplicate value: 80"],
    ),
    "an old TLS": (
        policy(foreign={"ports": [80], "minVersion": "1.1"}),
        ['spec.foreign.minVersion: Unsupported value: "1.1": supported values: "1.2", "1.3"', UNCHECKED],
    ),
    "an empty certificate": (policy(certificate={}), [NO_CERTIFICATE]),
    "a ttl in days": (
        policy(certificate={"ttl": "1d"}),
        [f'spec.certificate.ttl: Invalid value: "1d": {NO_DURATION}'],
    ),
    "an empty ttl": (policy(certificate={"ttl": ""}), [f'spec.certificate.ttl: Invalid value: "": {NO_DURATION}']),
    "a ttl below five minutes": (
        policy(certificate={"ttl": "4m59s"}),
        [f'spec.certificate.ttl: Invalid value: "4m59s": {OUT_OF_RANGE}'],
    ),
    "a ttl above thirty days": (
        policy(certificate={"ttl": "721h"}),
        [f'spec.certificate.ttl: Invalid value: "721h": {OUT_OF_RANGE}'],
    ),
    "a ttl of ages": (
        policy(certificate={"ttl": "999999999h"}),
        ['spec.certificate.ttl: Invalid value: "999999999h": ttl must be at most 720h'],
    ),
    "a long ttl": (
        policy(certificate={"ttl": "0" * 17}),
        ["spec.certificate.ttl: Too long: may not be more than 16 bytes", UNCHECKED],
    ),
    "a cluster policy that says nothing": (cluster_policy(), [SAYS_NOTHING]),
    "a cluster policy with an empty selector": (
        cluster_policy(mode="Strict", namespaceSelector={}),
        [EMPTY_NAMESPACE_SELECTOR],
    ),
    "a trust domain without an issuer": (trust_domain({}), ["spec.issuer: Required value", UNCHECKED]),
    "an issuer of no kind": (
        trust_domain({"issuer": {}}),
        ["spec.issuer: Invalid value: issuer needs selfSigned: {} (a root that the operator makes and keeps)"],
    ),
    "a root that lives an hour": (
        root_that_lives("1h"),
        ['spec.issuer.selfSigned.ttl: Invalid value: "1h": the life of a root must be from 24h to 87600h (ten years)'],
    ),
    "a root life that is no duration": (
        root_that_lives("soon"),
        [NO_ROOT_LIFE],
    ),
    "a trust domain in capitals": (
        trust_domain({"issuer": {"selfSigned": {}}}, name="BAD"),
        [NO_TRUST_DOMAIN],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_object_is_refused_in_the_words_of_the_real_server(name: str) -> None:
    obj, sentences = BAD[name]
    assert said(obj) == sentences


@pytest.mark.parametrize(
    "obj",
    [
        policy(mode="Strict"),
        policy(certificate={"ttl": "1h30m"}, ports=[{"port": 9090, "mode": "Permissive"}]),
        expression(operator="Exists"),
        policy(foreign={"ports": [8443, 9443], "minVersion": "1.2"}),
        cluster_policy(foreign={"ports": []}),
        cluster_policy(mode="Disabled", namespaceSelector={"matchLabels": {"a.example/b": "c"}}),
        trust_domain({"issuer": {"selfSigned": {"ttl": "87600h"}}}, name="cluster.local"),
    ],
    ids=lambda obj: str(obj["spec"]),
)
def test_a_good_object_passes(obj: Json) -> None:
    assert said(obj) == []
    assert schema(obj).unknown_fields(obj) == []


def test_misspelt_fields_are_named_with_their_place() -> None:
    obj = policy(mode="Strict", selctor={"a": 1}, ports=[{"port": 80, "mode": "Strict", "prot": 1}])
    assert schema(obj).unknown_fields(obj) == ["spec.ports[0].prot", "spec.selctor"]
    assert schema(obj).prune(obj) == policy(mode="Strict", ports=[{"port": 80, "mode": "Strict"}])


def test_a_cluster_policy_has_no_pod_selector() -> None:
    obj = cluster_policy(mode="Strict", selector={"matchLabels": {"a": "b"}})
    assert schema(obj).unknown_fields(obj) == ["spec.selector"]


def test_a_status_with_a_time_that_is_none_is_refused() -> None:
    condition = {"type": "Ready", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "now"}
    obj = {**policy(mode="Strict"), "status": {"conditions": [condition]}}
    path = "status.conditions[0].lastTransitionTime"
    assert said(obj)[0] == f'{path}: Invalid value: "now": {path} in body must be of type date-time: "now"'


def test_what_was_bad_before_does_not_keep_an_update_from_another_field() -> None:
    old = policy(certificate={"ttl": "1000h"}, mode="Strict")
    assert said(policy(certificate={"ttl": "1000h"}, mode="Disabled"), old) == []
    assert said(policy(certificate={"ttl": "2000h"}, mode="Strict"), old) != []
