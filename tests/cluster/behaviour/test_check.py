"""`handfast check` against installations that are broken on purpose: it names each cause, and says when all is well.

What does not stand in each other's way is broken together, and mended together.
"""

import asyncio
import json
import os
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.issuers import SELF_SIGNED, choose_issuer, condition
from cluster.kube.manifests import Manifest
from cluster.kube.workloads import Workloads
from cluster.mesh import TRUST_DOMAIN, policy, until
from cluster.release import NAMESPACE as SYSTEM
from cluster.release import Release
from cluster.rotations import BROUGHT_S, roots, signing, steer, until_replaced
from cluster.stragglers import paused
from handfast_operator.checks.catalog import AFTER
from handfast_operator.checks.check import judge
from handfast_operator.cli import check
from handfast_operator.cli.gathering import Gathering
from handfast_operator.cluster.access import read_kubeconfig
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import TRUST_DOMAINS
from handfast_operator.resources.times import format_time
from support.pki import TestAuthority

pytestmark = [pytest.mark.usefixtures("handfast"), pytest.mark.alone]
Json = dict[str, Any]
COMMAND = [sys.executable, "-m", "handfast_operator.cli"]
OK, BAD, UNKNOWN = 0, 1, 3
OF_NAMESPACES = frozenset(
    {"inject-label", "pod-security", "pods-without-sidecar", "old-sidecars", "network-policies", "policies"}
)
"""Checks that speak of namespaces: other tests' namespaces may be on their way out, and are not ours to judge."""
POD_SECURITY = "pod-security.kubernetes.io/enforce"


def told(cluster: Cluster, *words: str) -> tuple[int, Json]:
    """The exit code of `handfast WORDS...`, and the answer as data."""
    environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig)}
    done = subprocess.run(
        [*COMMAND, *words, "--output=json"], capture_output=True, text=True, check=False, timeout=60, env=environment
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


async def checked(cluster: Cluster) -> tuple[int, Json]:
    async with ApiClient.connect(read_kubeconfig(cluster.kubeconfig)) as client:
        facts = await Gathering(client, SYSTEM).after("default")
    report = judge(AFTER, facts)
    return check.code(report), check.document(report, facts)


class Checked:
    """What one check has said; asked without a process of its own, which takes longer than the answer."""

    def __init__(self, cluster: Cluster) -> None:
        self.code, document = asyncio.run(checked(cluster))
        self.findings: list[Json] = [each for each in document["findings"] if each["level"] != "ok"]
        self.unseen: list[Json] = document["unseen"]

    @property
    def of_the_installation(self) -> list[Json]:
        """What concerns Handfast itself."""
        return [each for each in self.findings if each["check"] not in OF_NAMESPACES or SYSTEM in each["message"]]

    def says(self, word: str, about: str, *words: str, level: str = "error") -> None:
        """Some finding under this word is about this object, has these words in its message, and a remedy."""
        found = [each for each in self.findings if (each["check"], each["level"]) == (word, level)]
        assert any(
            about in each["object"] and all(word in each["message"] for word in words) and each["remedy"]
            for each in found
        ), (word, about, words, self.findings)


def well(cluster: Cluster, timeout_s: float = 90) -> None:
    """Until it finds nothing: what was mended takes some seconds."""

    def look() -> bool:
        found = Checked(cluster)
        return not found.of_the_installation and not found.unseen

    until("all is well", look, timeout_s)


def patch(cluster: Cluster, kind: str, name: str, change: object, namespace: str = "", how: str = "merge") -> None:
    where = ["-n", namespace] if namespace else []
    cluster("patch", kind, name, *where, f"--type={how}", "-p", json.dumps(change))


@contextmanager
def changed(
    cluster: Cluster, kind: str, name: str, change: object, back: object, namespace: str = ""
) -> Iterator[None]:
    """An object that is another one while the block runs; both are merge patches."""
    patch(cluster, kind, name, change, namespace)
    try:
        yield
    finally:
        patch(cluster, kind, name, back, namespace)


@contextmanager
def lost(cluster: Cluster, kind: str, name: str, namespace: str | None = None) -> Iterator[None]:
    """An object that is not there while the block runs."""
    kept = cluster.get(kind, name, namespace)
    for field in ("resourceVersion", "uid", "creationTimestamp", "managedFields", "generation"):
        kept["metadata"].pop(field, None)
    kept.pop("status", None)
    cluster.delete(kind, name, namespace)
    try:
        yield
    finally:
        cluster.apply([kept])


@contextmanager
def there(cluster: Cluster, *objects: Manifest) -> Iterator[None]:
    """Objects that are there while the block runs."""
    cluster.apply(objects)
    try:
        yield
    finally:
        for each in objects:
            cluster.delete(each["kind"].lower(), each["metadata"]["name"], each["metadata"].get("namespace"))


@contextmanager
def away(handfast: Release, *deployments: str) -> Iterator[None]:
    """Deployments at 0 replicas while the block runs."""
    before = {each: max(1, len(handfast.pods(each))) for each in deployments}
    for each in deployments:
        handfast.scale(each, 0)
    try:
        yield
    finally:
        for each, replicas in before.items():
            handfast.scale(each, replicas)


def admitting(name: str, namespace: str, labels: dict[str, str], port: int) -> Manifest:
    """A NetworkPolicy for pods with these labels: this port, from pods of their namespace."""
    rule = {"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": port}]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress"], "ingress": [rule]},
    }


def part(role: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": "handfast", "app.kubernetes.io/component": role}


def webhook_entries(cluster: Cluster) -> list[Json]:
    entries: list[Json] = cluster.get("mutatingwebhookconfiguration", "handfast")["webhooks"]
    return entries


def entries_with(entries: list[Json], number: int, **fields: object) -> Json:
    return {"webhooks": [each | fields if index == number else each for index, each in enumerate(entries)]}


@pytest.fixture(scope="module")
def shop(cluster: Cluster, workloads: Workloads, module_namespace: NamespaceFactory) -> str:
    here = module_namespace("shop", inject=True)
    cluster.apply_ready(*workloads.server("orders", here, "http"), workloads.pod("client", here))
    well(cluster)
    return here


def test_an_installation_in_which_all_is_well(cluster: Cluster, shop: str) -> None:
    assert Checked(cluster).of_the_installation == []
    code, found = told(cluster, "status")
    assert (found["healthy"], found["trustDomain"]) == (code == OK, TRUST_DOMAIN)
    assert found["leader"].startswith("handfast-controller-")
    [mine] = [each for each in found["namespaces"] if each["name"] == shop]
    assert (mine["meshed"], mine["withoutSidecar"], mine["modes"]) == (2, 0, {"Permissive": 2})


def test_before_an_installation_nothing_stands_in_the_way_but_what_is_there(cluster: Cluster, shop: str) -> None:
    found = told(cluster, "check", "--pre")[1]
    assert not [each for each in found["findings"] if each["level"] != "ok" and each["check"] not in OF_NAMESPACES]
    code, found = told(cluster, "check", "--pre", "--operator-namespace=elsewhere")
    assert code == BAD
    [problem] = [each for each in found["findings"] if each["check"] == "other-installation"]
    assert problem["level"] == "error"
    assert f"in the namespace {SYSTEM}" in problem["message"]
    code, found = told(cluster, "check", "--operator-namespace=elsewhere")
    assert (code, found["findings"][-1]["check"]) == (BAD, "installed")
    assert f"--operator-namespace={SYSTEM}" in found["findings"][-1]["remedy"]


@pytest.mark.slow_on_kubernetes
@pytest.mark.timeout(400)
def test_what_the_chart_brought_and_somebody_changed(cluster: Cluster, shop: str) -> None:
    entries = webhook_entries(cluster)
    selector = entries[0]["namespaceSelector"]
    without_shop = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [shop]}
    narrowed = selector | {"matchExpressions": [*selector["matchExpressions"], without_shop]}
    changes = entries_with(entries, 0, namespaceSelector=narrowed)["webhooks"]
    definition = cluster.get("customresourcedefinition", "accessrequests.handfast.dev")["spec"]["versions"]
    older = json.loads(json.dumps(definition))
    del older[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["duration"]
    with ExitStack() as broken:
        for context in (
            changed(
                cluster,
                "mutatingwebhookconfiguration",
                "handfast",
                entries_with(changes, 1, failurePolicy="Ignore"),
                {"webhooks": entries},
            ),
            lost(cluster, "clusterrolebinding", "handfast-controller"),
            lost(cluster, "validatingadmissionpolicy", "handfast-secrets"),
            lost(cluster, "validatingwebhookconfiguration", "handfast"),
            changed(
                cluster,
                "customresourcedefinition",
                "accessrequests.handfast.dev",
                {"spec": {"versions": older}},
                {"spec": {"versions": definition}},
            ),
            changed(
                cluster,
                "deployment",
                "handfast-webhook",
                {"metadata": {"labels": {"app.kubernetes.io/version": "0.0.9"}}},
                {"metadata": {"labels": {"app.kubernetes.io/version": "0.2.0"}}},
                SYSTEM,
            ),
        ):
            broken.enter_context(context)
        found = Checked(cluster)
    assert found.code == BAD
    found.says("failure-policy", "MutatingWebhookConfiguration handfast", "pod.inject.handfast.dev is Ignore")
    found.says("webhook-selector", "MutatingWebhookConfiguration handfast", f"leave out the namespace {shop}")
    found.says("permissions", "handfast-controller", "secrets", "ClusterRoleBinding handfast-controller is missing")
    found.says("secrets-policy", "ValidatingAdmissionPolicy handfast-secrets", "missing")
    found.says("webhook-configuration", "ValidatingWebhookConfiguration handfast", "missing")
    found.says("custom-resources", "accessrequests.handfast.dev", "does not know spec.duration")
    found.says("versions", "Deployments", "0.0.9", level="warning")
    well(cluster)


@pytest.mark.slow_on_kubernetes
@pytest.mark.timeout(400)
def test_namespaces_that_ask_for_what_they_cannot_have(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory, shop: str
) -> None:
    early, typo = namespace("early"), namespace("typo", labels={"handfast.dev/inject": "true"})
    strict = namespace("locked", inject=True, labels={POD_SECURITY: "restricted"})
    cluster.apply_ready(workloads.pod("early", early, "http"))
    cluster("label", "namespace", early, "handfast.dev/inject=enabled")
    policies = [policy(shop, "first", mode="Strict"), policy(shop, "second", mode="Permissive")]
    with (
        there(cluster, admitting("orders", shop, {"app": "orders"}, 8080)),
        there(cluster, admitting("directory", SYSTEM, part("directory"), 9999)),
        there(cluster, admitting("webhook", SYSTEM, part("webhook"), 9999)),
        there(cluster, *policies),
    ):
        until("the conflict is told", lambda: any(each["check"] == "policies" for each in Checked(cluster).findings))
        found = Checked(cluster)
    assert found.code == BAD
    found.says("inject-label", f"Namespace {typo}", "handfast.dev/inject=true")
    found.says("pod-security", f"Namespace {strict}", "restricted")
    found.says("pods-without-sidecar", f"Pod {early}/early", "older than the label")
    found.says("network-policies", f"{shop}/orders", "14008")
    found.says("network-policies", "handfast-directory", "14010")
    found.says("network-policies", "handfast-webhook", "14443")
    found.says("policies", f"MTLSPolicy {shop}/second", "OlderPolicyWins", level="warning")
    for name in (early, typo, strict):
        cluster.delete("namespace", name, wait=False)
    well(cluster)


@pytest.mark.slow_on_kubernetes
@pytest.mark.timeout(400)
def test_parts_that_cannot_be_reached_or_are_of_another_version(cluster: Cluster, handfast: Release, shop: str) -> None:
    directory = cluster.get("deployment", "handfast-directory", SYSTEM)["spec"]
    [container] = directory["template"]["spec"]["containers"]
    unknown = {"template": {"spec": {"containers": [container | {"image": "nowhere.invalid/handfast/operator:9"}]}}}
    known = {"template": {"spec": {"containers": [container]}}}
    selector = cluster.get("service", "handfast-webhook", SYSTEM)["spec"]["selector"]
    with (
        changed(cluster, "deployment", "handfast-directory", {"spec": unknown}, {"spec": known}, SYSTEM),
        changed(
            cluster,
            "service",
            "handfast-webhook",
            {"spec": {"selector": {"app.kubernetes.io/component": "nobody"}}},
            {"spec": {"selector": selector}},
            SYSTEM,
        ),
    ):
        until(
            "both are told",
            lambda: {"image-pull", "service-endpoints"} <= {each["check"] for each in Checked(cluster).findings},
            60,
        )
        found = Checked(cluster)
    found.says("image-pull", "handfast-directory", "nowhere.invalid/handfast/operator:9")
    found.says("versions", "Deployments", "directory nowhere.invalid/handfast/operator:9")
    found.says("service-endpoints", "Service handfast-system/handfast-webhook", "no ready endpoint", "nobody")
    found.says("admission", "MutatingWebhookConfiguration handfast", "inject.handfast.dev")
    handfast.wait_working()
    well(cluster)


@pytest.mark.slow_on_kubernetes
@pytest.mark.timeout(400)
def test_an_issuer_that_is_refused_and_a_second_trust_domain(cluster: Cluster, shop: str) -> None:
    second = {
        "apiVersion": "handfast.dev/v1alpha1",
        "kind": "TrustDomain",
        "metadata": {"name": "other.example"},
        "spec": {"issuer": {"selfSigned": {}}},
    }
    with there(cluster, second):
        choose_issuer(cluster, {"secretRef": {"name": "nobody-made-it"}, "selfSigned": None})
        try:
            # The controller first says that it has not read that Secret yet.
            until("it is refused", lambda: "nobody-made-it" in condition(cluster).get("message", ""), 60)
            until(
                "the second one is told of",
                lambda: any(each["check"] == "trust-domain" for each in Checked(cluster).findings),
            )
            found = Checked(cluster)
        finally:
            choose_issuer(cluster, SELF_SIGNED)
    found.says("issuer", f"TrustDomain {TRUST_DOMAIN}", "nobody-made-it")
    found.says("trust-domain", "TrustDomain other.example", "2 TrustDomains", level="warning")
    well(cluster)


@pytest.mark.slow_on_kubernetes
@pytest.mark.timeout(400)
def test_without_its_parts_and_what_the_controller_would_have_mended(
    cluster: Cluster, handfast: Release, shop: str
) -> None:
    authority = signing(cluster)
    with away(handfast, "handfast-controller", "handfast-webhook", "handfast-directory"):
        entries = webhook_entries(cluster)
        foreign = b64encode(TestAuthority("elsewhere.example").bundle_pem).decode()
        for number, bundle in ((0, ""), (1, foreign)):
            client = {name: value for name, value in entries[number]["clientConfig"].items() if name != "caBundle"}
            client |= {"caBundle": bundle} if bundle else {}
            patch(
                cluster, "mutatingwebhookconfiguration", "handfast", entries_with(entries, number, clientConfig=client)
            )
            found = Checked(cluster)
            words = "is empty" if not bundle else "is of somebody else"
            found.says("ca-bundle", "MutatingWebhookConfiguration handfast", entries[number]["name"], words)
        with lost(cluster, "secret", authority, SYSTEM):
            asyncio.run(age(cluster))
            found = Checked(cluster)
        assert found.code == BAD
        found.says("controller", "Deployment handfast-system/handfast-controller", "0 replicas")
        found.says("webhook", "Deployment handfast-system/handfast-webhook", "0 replicas")
        found.says("directory", "Deployment handfast-system/handfast-directory", "0 replicas")
        found.says("leader", "Lease handfast-system/handfast-controller", "no controller leads")
        found.says("authority-secret", f"Secret {SYSTEM}/{authority}", "lost")
        found.says("root-expiry", f"Authority {authority}", "less than a sixth")
        assert {each["check"] for each in found.unseen} == {"silent-sidecars", "leaf-expiry"}
        cluster.delete("trustdomain", TRUST_DOMAIN)
        with (
            lost(cluster, "mutatingwebhookconfiguration", "handfast"),
            lost(cluster, "customresourcedefinition", "accessgrants.handfast.dev"),
        ):
            found = Checked(cluster)
        found.says("webhook-configuration", "MutatingWebhookConfiguration handfast", "is missing")
        found.says("trust-domain", "TrustDomain", "there is none")
        found.says("custom-resources", "accessgrants.handfast.dev", "is missing")
    handfast.wait_working()
    assert signing(cluster) == authority
    well(cluster)


async def age(cluster: Cluster) -> None:
    """The root that signs is at its end, as the status says: the controller is away, or it would say otherwise."""
    async with ApiClient.connect(read_kubeconfig(cluster.kubeconfig)) as client:
        path = TRUST_DOMAINS.item("", TRUST_DOMAIN)
        [active] = (await client.get(path))["status"]["authorities"]
        now = await client.date()
        assert now is not None
        old = {"notBefore": format_time(now - timedelta(days=89)), "notAfter": format_time(now + timedelta(days=1))}
        await client.patch(f"{path}/status", {"status": {"authorities": [active | old]}})


@pytest.mark.slow_on_kubernetes
@pytest.mark.timeout(400)
def test_a_sidecar_that_stands_still_holds_a_rotation_up_and_falls_silent(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory, shop: str
) -> None:
    here = namespace("still", inject=True)
    name = f"still-{here}"
    cluster.apply_ready(workloads.pod(name, here))
    before = signing(cluster)
    with paused(name):
        steer(cluster, trigger=f"check-{here}")
        until("the rotation waits", lambda: f"{here}/{name}" in roots(cluster).named, 60)
        Checked(cluster).says("rotation", f"TrustDomain {TRUST_DOMAIN}", f"{here}/{name}", level="warning")
        until(
            "it is silent",
            lambda: any(each["check"] == "silent-sidecars" for each in Checked(cluster).findings),
            90,
        )
        Checked(cluster).says("silent-sidecars", f"Pod {here}/{name}", "not heard of for a minute")
    until_replaced(cluster, before)
    well(cluster, BROUGHT_S)


def test_secrets_are_never_asked_for_what_is_in_them(cluster: Cluster, shop: str) -> None:
    """What the check prints may go into a ticket."""
    keys = [
        b64decode(each["data"]["tls.key"]).decode().splitlines()[1]
        for each in cluster.list("secrets", SYSTEM)
        if "tls.key" in each.get("data", {})
    ]
    assert keys
    said = json.dumps([told(cluster, "check")[1], told(cluster, "status")[1]])
    assert not any(key in said for key in keys)
