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
SAYS_NOTHING = (
    "spec: Invalid value: the policy says nothing: "
    "set mode, ports, foreign, allow, deny, enforcement, limits, outbound or certificate.ttl"
)
NO_BOOLEAN = 'spec.overridable: Invalid value: "string": spec.overridable in body must be of type boolean: "string"'
NOTHING_FINAL = (
    "spec: Invalid value: overridable: false makes mode, ports, enforcement and outbound final, "
    "and the policy sets none of them: set one, or leave overridable out"
)
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
ONE_ISSUER = (
    "spec.issuer: Invalid value: issuer needs one of selfSigned: {} (a root that the operator makes and keeps) and "
    "secretRef: {name: ...} (an issuer that somebody else renews)"
)
NO_SECRET_NAME = (
    'spec.issuer.secretRef.name: Invalid value: "a/b": name is that of a Secret in the operator\'s namespace: '
    "lower-case letters, digits, '-' and '.', such as handfast-issuer"
)
OWN_COPY = (
    'spec.issuer.secretRef.name: Invalid value: "handfast-authority-1": name must not start with handfast-authority-: '
    "those Secrets are the operator's own copies"
)
NO_TRUST_DOMAIN = (
    "<nil>: Invalid value: a TrustDomain's name is the trust domain itself: "
    "lower-case letters, digits, '.', '-' and '_', such as cluster.local"
)
MODES = 'supported values: "Strict", "Permissive", "Disabled", "Auto"'
NO_WORD = (
    'spec.rotation.trigger: Invalid value: "replace it, please": '
    "trigger is one word of letters, digits, '.', '-', '_' and ':', such as 2026-11"
)
FORCES_NOBODY = (
    'spec.rotation.force: Invalid value: "all": '
    "force names an authority as status.authorities does, such as handfast-authority-2"
)
BACK_TO_NOBODY = (
    'spec.rotation.back: Invalid value: "old": '
    "back names an authority as status.authorities does, such as handfast-authority-1"
)
NOT_AUTO = "promoteAfter is how long mode Auto waits: set mode to Auto, or leave promoteAfter out"
NO_WAIT = "promoteAfter is a duration in hours, minutes and seconds, such as 24h or 1h30m"
WAIT_OUT_OF_RANGE = "promoteAfter must be from 1m (sidecars report every 10 seconds) to 720h"
PORTS_MODE = (
    "Auto is a mode of whole policies: a port is Strict, Permissive or Disabled, or has no entry and follows spec.mode"
)
NO_LIMIT = "a limit is a number from 1 to 1000000; to let nobody in, write allow: []"
NO_LIMITS = (
    "limits says nothing: "
    "set maxConnections, connectionsPerSecond, perClient or handshakesPerSecond, or leave limits out"
)
NO_PER_CLIENT = "perClient says nothing: set maxConnections or connectionsPerSecond, or leave perClient out"
NO_RATE = "burst is of a rate: set connectionsPerSecond beside it"
NO_NETWORK = "cidr is a network, such as 192.0.2.0/24, 192.0.2.7/32 or 2001:db8::/32"
NO_SERVICE = "service is NAMESPACE/NAME, such as default/kubernetes"
NO_OUTBOUND = "outbound says nothing: set unknown, plaintext or except, or leave outbound out"
NO_DESTINATION = "an entry of except names one destination: set cidr or service, and not both"


def policy(**spec: Any) -> Json:
    return {"apiVersion": "handfast.dev/v1alpha1", "kind": "MTLSPolicy", "metadata": {"name": "it"}, "spec": spec}


def cluster_policy(**spec: Any) -> Json:
    return {**policy(**spec), "kind": "ClusterMTLSPolicy"}


REVOKES_WHAT = "an entry names either identity (a SPIFFE ID) or serial (of one certificate)"


def revokes(*entries: Json) -> Json:
    return trust_domain({"issuer": {"selfSigned": {}}, "revoked": list(entries)}, name="cluster.local")


def trust_domain(spec: Json, name: str = "bad.example") -> Json:
    return {"apiVersion": "handfast.dev/v1alpha1", "kind": "TrustDomain", "metadata": {"name": name}, "spec": spec}


def expression(**of: Any) -> Json:
    return policy(mode="Strict", selector={"matchExpressions": [{"key": "a", **of}]})


def root_that_lives(ttl: str) -> Json:
    return trust_domain({"issuer": {"selfSigned": {"ttl": ttl}}})


def rotation(**words: str | bool) -> Json:
    return trust_domain({"issuer": {"selfSigned": {}}, "rotation": words})


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
    "a port of an unknown mode": (
        policy(ports=[{"port": 80, "mode": "strict"}]),
        ['spec.ports[0].mode: Invalid value: "strict": a port\'s mode is Strict, Permissive or Disabled'],
    ),
    "a port that promotes itself": (
        policy(ports=[{"port": 80, "mode": "Auto"}]),
        [f'spec.ports[0].mode: Invalid value: "Auto": {PORTS_MODE}'],
    ),
    "a time until promotion of what is not Auto": (
        policy(mode="Permissive", promoteAfter="1h"),
        [f"spec: Invalid value: {NOT_AUTO}"],
    ),
    "a time until promotion of no mode": (
        cluster_policy(promoteAfter="1h", enforcement="Audit"),
        [f"spec: Invalid value: {NOT_AUTO}"],
    ),
    "a time until promotion in days": (
        policy(mode="Auto", promoteAfter="1d"),
        [f'spec.promoteAfter: Invalid value: "1d": {NO_WAIT}'],
    ),
    "no time until promotion": (
        policy(mode="Auto", promoteAfter=""),
        [f'spec.promoteAfter: Invalid value: "": {NO_WAIT}'],
    ),
    "less than a minute until promotion": (
        policy(mode="Auto", promoteAfter="59s"),
        [f'spec.promoteAfter: Invalid value: "59s": {WAIT_OUT_OF_RANGE}'],
    ),
    "more than thirty days until promotion": (
        policy(mode="Auto", promoteAfter="721h"),
        [f'spec.promoteAfter: Invalid value: "721h": {WAIT_OUT_OF_RANGE}'],
    ),
    "ages until promotion": (
        policy(mode="Auto", promoteAfter="999999999h"),
        ['spec.promoteAfter: Invalid value: "999999999h": promoteAfter must be at most 720h'],
    ),
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
    "empty limits": (policy(limits={}), [f"spec.limits: Invalid value: {NO_LIMITS}"]),
    "a burst of no rate": (policy(limits={"burst": 5}), [f"spec.limits: Invalid value: {NO_RATE}"]),
    "a limit of 0": (
        policy(limits={"maxConnections": 0}),
        [f"spec.limits.maxConnections: Invalid value: 0: {NO_LIMIT}"],
    ),
    "a rate of millions": (
        cluster_policy(limits={"connectionsPerSecond": 1000001}),
        [f"spec.limits.connectionsPerSecond: Invalid value: 1000001: {NO_LIMIT}"],
    ),
    "a burst of 0": (
        policy(limits={"connectionsPerSecond": 1, "burst": 0}),
        ["spec.limits.burst: Invalid value: 0: a burst is a number from 1 to 1000000"],
    ),
    "handshakes below 0": (
        policy(limits={"handshakesPerSecond": -1}),
        [f"spec.limits.handshakesPerSecond: Invalid value: -1: {NO_LIMIT}"],
    ),
    "an empty perClient": (
        policy(limits={"perClient": {}}),
        [f"spec.limits.perClient: Invalid value: {NO_PER_CLIENT}"],
    ),
    "a client's burst of no rate": (
        policy(limits={"perClient": {"maxConnections": 1, "burst": 5}}),
        [f"spec.limits.perClient: Invalid value: {NO_RATE}"],
    ),
    "a client's limit of 0": (
        policy(limits={"perClient": {"maxConnections": 0}}),
        [f"spec.limits.perClient.maxConnections: Invalid value: 0: {NO_LIMIT}"],
    ),
    "an empty outbound": (
        policy(outbound={}),
        [f"spec.outbound: Invalid value: {NO_OUTBOUND}"],
    ),
    "an unknown word of outbound": (
        policy(outbound={"plaintext": "Deny"}),
        ['spec.outbound.plaintext: Unsupported value: "Deny": supported values: "Allow", "Refuse"', UNCHECKED],
    ),
    "an exception of nothing": (
        policy(outbound={"except": [{"ports": [53]}]}),
        [f"spec.outbound.except[0]: Invalid value: {NO_DESTINATION}"],
    ),
    "an exception of two things": (
        cluster_policy(outbound={"except": [{"cidr": "192.0.2.0/24", "service": "a/b"}]}),
        [f"spec.outbound.except[0]: Invalid value: {NO_DESTINATION}"],
    ),
    "an address as a network": (
        policy(outbound={"except": [{"cidr": "192.0.2.7"}]}),
        [f'spec.outbound.except[0].cidr: Invalid value: "192.0.2.7": {NO_NETWORK}'],
    ),
    "a network of 33 bits": (
        policy(outbound={"except": [{"cidr": "192.0.2.0/33"}]}),
        [f'spec.outbound.except[0].cidr: Invalid value: "192.0.2.0/33": {NO_NETWORK}'],
    ),
    "a Service without its namespace": (
        policy(outbound={"except": [{"service": "kubernetes"}]}),
        [f'spec.outbound.except[0].service: Invalid value: "kubernetes": {NO_SERVICE}'],
    ),
    "an exception's port 0": (
        policy(outbound={"except": [{"service": "a/b", "ports": [0]}]}),
        ["spec.outbound.except[0].ports[0]: Invalid value: 0: a port is a number from 1 to 65535"],
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
    "a cluster policy that makes nothing final": (
        cluster_policy(certificate={"ttl": "1h"}, overridable=False),
        [NOTHING_FINAL],
    ),
    "a word for overridable": (
        cluster_policy(mode="Strict", overridable="false"),
        [NO_BOOLEAN, UNCHECKED],
    ),
    "a trust domain without an issuer": (trust_domain({}), ["spec.issuer: Required value", UNCHECKED]),
    "an issuer of no kind": (
        trust_domain({"issuer": {}}),
        [ONE_ISSUER],
    ),
    "an issuer of two kinds": (
        trust_domain({"issuer": {"selfSigned": {}, "secretRef": {"name": "handfast-issuer"}}}),
        [ONE_ISSUER],
    ),
    "an issuer in a Secret without a name": (
        trust_domain({"issuer": {"secretRef": {}}}),
        ["spec.issuer.secretRef.name: Required value", UNCHECKED],
    ),
    "an issuer in another namespace": (trust_domain({"issuer": {"secretRef": {"name": "a/b"}}}), [NO_SECRET_NAME]),
    "an issuer in a Secret of the operator's own": (
        trust_domain({"issuer": {"secretRef": {"name": "handfast-authority-1"}}}),
        [OWN_COPY],
    ),
    "a root that lives an hour": (
        root_that_lives("1h"),
        ['spec.issuer.selfSigned.ttl: Invalid value: "1h": the life of a root must be from 24h to 87600h (ten years)'],
    ),
    "a root life that is no duration": (
        root_that_lives("soon"),
        [NO_ROOT_LIFE],
    ),
    "a rotation asked for with a sentence": (
        rotation(trigger="replace it, please"),
        [NO_WORD],
    ),
    "a rotation forced for everybody": (
        rotation(force="all"),
        [FORCES_NOBODY],
    ),
    "a way back to nobody": (
        rotation(back="old"),
        [BACK_TO_NOBODY],
    ),
    "an entry that revokes nobody": (
        revokes({"reason": "why"}),
        [f"spec.revoked[0]: Invalid value: {REVOKES_WHAT}"],
    ),
    "an entry that revokes two things": (
        revokes({"identity": "spiffe://a.example/ns/a/sa/b", "serial": "1f", "reason": "why"}),
        [f"spec.revoked[0]: Invalid value: {REVOKES_WHAT}"],
    ),
    "a revocation without a reason": (
        revokes({"serial": "1f"}),
        ["spec.revoked[0].reason: Required value", UNCHECKED],
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
        policy(mode="Auto"),
        policy(mode="Auto", promoteAfter="1m", ports=[{"port": 9090, "mode": "Permissive"}]),
        cluster_policy(mode="Auto", promoteAfter="720h"),
        policy(certificate={"ttl": "1h30m"}, ports=[{"port": 9090, "mode": "Permissive"}]),
        expression(operator="Exists"),
        policy(foreign={"ports": [8443, 9443], "minVersion": "1.2"}),
        cluster_policy(foreign={"ports": []}),
        cluster_policy(mode="Strict", overridable=False),
        cluster_policy(certificate={"ttl": "1h"}, overridable=True),
        policy(limits={"maxConnections": 1000, "connectionsPerSecond": 200, "burst": 400, "handshakesPerSecond": 50}),
        cluster_policy(limits={"perClient": {"maxConnections": 50, "connectionsPerSecond": 10, "burst": 1}}),
        policy(outbound={"unknown": "Refuse", "plaintext": "Allow"}),
        cluster_policy(outbound={"except": []}),
        policy(outbound={"except": [{"cidr": "0.0.0.0/0"}, {"cidr": "2001:db8::/32", "ports": [443]}]}),
        policy(outbound={"except": [{"service": "default/kubernetes"}, {"cidr": "::/0", "ports": []}]}),
        cluster_policy(mode="Disabled", namespaceSelector={"matchLabels": {"a.example/b": "c"}}),
        trust_domain({"issuer": {"selfSigned": {"ttl": "87600h"}}}, name="cluster.local"),
        trust_domain({"issuer": {"secretRef": {"name": "handfast-issuer"}}}),
        rotation(trigger="2026-11", paused=True, force="handfast-authority-2", back=""),
        revokes({"identity": "spiffe://a.example/ns/shop/sa/cart", "reason": "its node was broken into"}),
        revokes({"serial": "0A1b", "reason": "a laptop was lost", "until": "2026-12-01T00:00:00Z"}),
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


def test_a_caller_may_be_a_namespace_alone() -> None:
    """CEL reserves the word: a rule has to write it `__namespace__`, or the real server takes no such definition."""
    allow = [{"from": [{"namespace": "web"}]}]
    assert said(policy(allow=allow)) == []
    assert said(cluster_policy(deny=allow)) == []
    both = [{"from": [{"namespace": "web", "principal": "spiffe://cluster.local/ns/web/sa/a"}]}]
    assert said(policy(allow=both)) != []
    assert said(cluster_policy(allow=[{"from": [{"serviceAccount": "cart"}]}])) != []
