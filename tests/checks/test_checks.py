"""One thing is broken in an installation in which all is well: the check of that thing says so, and no other."""

from base64 import b64encode
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding

from checks.stage import AUTHORITY, NOW, SYSTEM, Installation, own_pod, pod, rendered, trust_domain
from handfast_operator.admission.refusals import POD_SECURITY
from handfast_operator.checks import rights
from handfast_operator.checks.catalog import AFTER, BEFORE
from handfast_operator.checks.check import judge
from handfast_operator.checks.definitions import SPEC_FIELDS
from handfast_operator.checks.facts import AUTHORITIES, DEPLOYMENTS, OWN_PODS, Asked, Right
from handfast_operator.checks.finding import Level
from handfast_operator.cluster.kinds import (
    ADMISSION_BINDINGS,
    ADMISSION_POLICIES,
    CLUSTER_MTLS_POLICIES,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    DEFINITIONS,
    ENDPOINT_SLICES,
    LEASES,
    MTLS_POLICIES,
    MUTATING_WEBHOOKS,
    NETWORK_POLICIES,
    PODS,
    ROLE_BINDINGS,
    SERVICES,
    TRUST_DOMAINS,
    VALIDATING_WEBHOOKS,
)
from handfast_operator.resources.times import format_time
from support.pki import TestAuthority

Json = dict[str, Any]
OPTED_IN = {"handfast.dev/inject": "enabled"}


@pytest.fixture
def here() -> Installation:
    found = Installation()
    found.namespace("shop", **OPTED_IN)
    found.pod("orders", "shop")
    found.report("orders")
    return found


def test_where_all_is_well_nothing_is_found(here: Installation) -> None:
    report = judge(AFTER, here.facts())
    assert [each for each in report.findings if each.level is not Level.OK] == []
    assert report.unseen == ()
    assert [each.check for each in report.findings] == [each.word for each in AFTER]
    assert all(each.message for each in report.findings)


def test_before_an_installation_nothing_is_missed() -> None:
    empty = Installation()
    for kind in empty.objects:
        empty.objects[kind] = []
    assert empty.problems(BEFORE) == []
    assert [each.check for each in empty.problems()] == ["installed"], "and after it that alone"


# --- the cluster


@pytest.mark.parametrize("version", ["v1.29.9", "v1.9.0", "0.99"])
def test_an_older_kubernetes(here: Installation, version: str) -> None:
    here.fields = {"version": version}
    assert here.problem("kubernetes-version").level is Level.ERROR


@pytest.mark.parametrize("version", ["v1.30.0", "v1.33.1-gke.100", "v2.0.0", "1.31+"])
def test_a_kubernetes_that_will_do(here: Installation, version: str) -> None:
    here.fields = {"version": version}
    assert here.problems() == []


def test_a_cluster_without_admission_policies(here: Installation) -> None:
    here.fields = {"served": here.facts().served - {"ValidatingAdmissionPolicy"}}
    assert "1.30" in here.problem("kubernetes-apis").remedy


@pytest.mark.parametrize(("ahead", "words"), [(90, "90 s ahead of"), (-45, "45 s behind")])
def test_clocks_that_differ(here: Installation, ahead: int, words: str) -> None:
    here.fields = {"ahead": timedelta(seconds=ahead)}
    found = here.problem("clock-skew")
    assert (found.level, words in found.message) == (Level.WARNING, True)


def test_rights_that_an_installer_lacks(here: Installation) -> None:
    here.fields = {"rights": {Right("create", "apps", "deployments", SYSTEM): False}}
    assert f"create deployments.apps in the namespace {SYSTEM}" in here.before("install-rights").message


def test_another_installation(here: Installation) -> None:
    here.fields = {"namespace": "elsewhere"}
    assert f"in the namespace {SYSTEM}" in here.before("other-installation").message


# --- the installation


def test_a_definition_that_is_missing_speaks_for_its_objects(here: Installation) -> None:
    here.lose(DEFINITIONS, "trustdomains.handfast.dev")
    here.objects[TRUST_DOMAINS] = []
    here.fields = {"unserved": frozenset({TRUST_DOMAINS})}
    assert "trustdomains.handfast.dev" in here.problem("custom-resources").object


def test_a_definition_of_another_version(here: Installation) -> None:
    [version] = here.the(DEFINITIONS, "trustdomains.handfast.dev")["spec"]["versions"]
    del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["revoked"]
    assert "spec.revoked" in here.problem("custom-resources").message
    assert here.before("custom-resources").level is Level.ERROR
    version["name"] = "v1"
    assert "does not serve v1alpha1" in here.problem("custom-resources").message


def test_the_fields_that_are_looked_for_are_those_of_the_definitions() -> None:
    for document in rendered():
        if document["kind"] == "CustomResourceDefinition":
            spec = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
            assert set(spec) == SPEC_FIELDS[document["spec"]["names"]["plural"]]


@pytest.mark.parametrize("role", ["controller", "webhook", "directory"])
def test_a_part_that_does_not_run(here: Installation, role: str) -> None:
    deployment = here.the(DEPLOYMENTS, f"handfast-{role}")
    deployment["spec"]["replicas"] = 0
    here.lose(OWN_PODS, f"handfast-{role}-0")
    assert "0 replicas" in here.problem(role).message
    deployment["spec"]["replicas"] = 2
    assert "none of its 2 pods is ready" in here.problem(role).message
    here.lose(DEPLOYMENTS, f"handfast-{role}")
    assert "missing" in here.problem(role).message


def test_a_part_with_fewer_pods_than_wanted_is_a_warning(here: Installation) -> None:
    here.the(DEPLOYMENTS, "handfast-webhook")["spec"]["replicas"] = 2
    assert here.problem("webhook").level is Level.WARNING


def test_why_a_pod_is_not_ready_is_said(here: Installation) -> None:
    status = here.the(OWN_PODS, "handfast-directory-0")["status"]
    status["conditions"] = [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]
    assert "0/3 nodes are available" in here.problem("directory").message


def test_an_image_that_cannot_be_pulled(here: Installation) -> None:
    status = here.objects[PODS][0]["status"]["initContainerStatuses"][0]
    status |= {"image": "", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}
    found = here.problem("image-pull")
    assert "handfast/sidecar:0.2.0 cannot be pulled" in found.message


def test_images_that_are_not_ours_are_nobodys_affair_here(here: Installation) -> None:
    waiting = {"name": "app", "image": "shop/orders", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    here.objects[PODS][0]["status"]["containerStatuses"] = [waiting]
    assert here.problems() == []


def test_parts_of_different_versions(here: Installation) -> None:
    [container] = here.the(DEPLOYMENTS, "handfast-directory")["spec"]["template"]["spec"]["containers"]
    container["image"] = "handfast/operator:0.1.0"
    assert here.problem("versions").level is Level.ERROR


def test_a_command_of_another_version_is_a_warning(here: Installation) -> None:
    here.fields = {"own_version": "9.9.9"}
    assert here.problem("versions").level is Level.WARNING


@pytest.mark.parametrize(
    ("spec", "words", "level"),
    [
        ({"holderIdentity": ""}, "no controller leads", Level.ERROR),
        ({"renewTime": "2026-06-01T11:58:00.000000Z"}, "for 120 s", Level.ERROR),
        ({"renewTime": "2026-06-01T12:02:00.000000Z"}, "120 s in the future", Level.WARNING),
    ],
)
def test_a_lease_that_nobody_keeps(here: Installation, spec: Json, words: str, level: Level) -> None:
    here.the(LEASES, "handfast-controller")["spec"] |= spec
    found = here.problem("leader")
    assert (found.level, words in found.message) == (level, True), found
    here.objects[LEASES] = []
    assert "no controller leads" in here.problem("leader").message


def test_a_binding_that_is_missing(here: Installation) -> None:
    here.lose(CLUSTER_ROLE_BINDINGS, "handfast-controller")
    assert "secrets" in here.problem("permissions").message
    assert "the ClusterRoleBinding handfast-controller is missing" in here.problem("permissions").message


def test_a_role_that_was_changed(here: Installation) -> None:
    for rule in here.the(CLUSTER_ROLES, "handfast-controller")["rules"]:
        if rule["resources"] == ["secrets"]:
            rule["verbs"] = ["get", "list", "watch"]
    assert "it may not create/update/patch/delete secrets" in here.problem("permissions").message


def test_a_role_in_the_operators_namespace(here: Installation) -> None:
    here.lose(ROLE_BINDINGS, "handfast-controller")
    assert "leases" in here.problem("permissions").message


def test_a_right_that_another_binding_gives_is_a_right(here: Installation) -> None:
    here.lose(CLUSTER_ROLE_BINDINGS, "handfast-webhook")
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    here.objects[CLUSTER_ROLES].append({"metadata": {"name": "admin"}, "rules": everything})
    here.objects[CLUSTER_ROLE_BINDINGS].append(
        {
            "metadata": {"name": "wide"},
            "roleRef": {"kind": "ClusterRole", "name": "admin"},
            "subjects": [{"kind": "Group", "name": f"system:serviceaccounts:{SYSTEM}"}],
        }
    )
    assert here.problems() == []


@pytest.mark.parametrize("role", ["controller", "webhook", "directory"])
def test_the_rights_that_are_looked_for_are_those_that_the_chart_gives(role: str) -> None:
    given = {
        (verb, group, resource, name)
        for document in rendered()
        if (document["kind"], document["metadata"]["name"]) == ("ClusterRole", f"handfast-{role}")
        for rule in document["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }
    assert set(rights.IN_CLUSTER[role]) == given


@pytest.mark.parametrize("kind", [ADMISSION_POLICIES, ADMISSION_BINDINGS], ids=["policy", "binding"])
def test_a_policy_of_secrets_that_is_missing(here: Installation, kind: Any) -> None:
    here.lose(kind, "handfast-secrets")
    assert "missing" in here.problem("secrets-policy").message


def test_a_policy_of_secrets_that_was_weakened(here: Installation) -> None:
    spec = here.the(ADMISSION_POLICIES, "handfast-secrets")["spec"]
    spec["failurePolicy"] = "Ignore"
    assert "Ignore" in here.problem("secrets-policy").message
    spec["failurePolicy"] = "Fail"
    here.the(ADMISSION_BINDINGS, "handfast-secrets")["spec"]["validationActions"] = ["Audit"]
    assert "do not have Deny" in here.problem("secrets-policy").message


@pytest.mark.parametrize("role", ["webhook", "directory"])
def test_a_service_without_endpoints(here: Installation, role: str) -> None:
    here.lose(ENDPOINT_SLICES, f"handfast-{role}")
    assert "no ready endpoint" in here.problem("service-endpoints").message
    here.lose(SERVICES, f"handfast-{role}")
    assert "missing" in here.problem("service-endpoints").message


# --- the webhook


@pytest.mark.parametrize("kind", [MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS], ids=["mutating", "validating"])
def test_a_webhook_configuration_that_is_missing(here: Installation, kind: Any) -> None:
    entries = here.the(kind, "handfast")["webhooks"]
    del entries[1]
    assert "entry pod." in here.problem("webhook-configuration").message
    here.lose(kind, "handfast")
    assert "it is missing" in here.problem("webhook-configuration").message


def test_an_entry_that_asks_somebody_else(here: Installation) -> None:
    entry = here.the(MUTATING_WEBHOOKS, "handfast")["webhooks"][0]
    entry["clientConfig"]["service"]["name"] = "other"
    assert "asks the Service handfast-system/other" in here.problem("webhook-configuration").message
    entry["clientConfig"]["service"]["name"] = "handfast-webhook"
    entry["rules"][0]["operations"] = ["DELETE"]
    assert "leave CREATE of pods out" in here.problem("webhook-configuration").message


def test_a_failure_policy_that_lets_pods_through(here: Installation) -> None:
    here.the(MUTATING_WEBHOOKS, "handfast")["webhooks"][1]["failurePolicy"] = "Ignore"
    assert "is Ignore" in here.problem("failure-policy").message


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        ({"matchLabels": {"mesh": "yes"}}, "leave out namespaces with the label"),
        ({"matchExpressions": [{"key": "handfast.dev/inject", "operator": "Exists"}]}, "selects handfast-system"),
    ],
)
def test_a_selector_that_was_changed(here: Installation, selector: Json, words: str) -> None:
    here.the(MUTATING_WEBHOOKS, "handfast")["webhooks"][0]["namespaceSelector"] = selector
    assert words in here.problem("webhook-selector").message


def test_a_selector_that_leaves_out_one_namespace_names_it(here: Installation) -> None:
    entry = here.the(MUTATING_WEBHOOKS, "handfast")["webhooks"][0]
    entry["namespaceSelector"]["matchExpressions"][0]["values"].append("shop")
    assert "leave out the namespace shop" in here.problem("webhook-selector").message


def test_a_selector_that_selects_who_did_not_opt_in(here: Installation) -> None:
    entry = here.the(MUTATING_WEBHOOKS, "handfast")["webhooks"][1]
    entry["objectSelector"] = {}
    assert "did not opt in" in here.problem("webhook-selector").message


@pytest.mark.parametrize(
    ("bundle", "words"),
    [
        ("", "is empty"),
        ("bm90IGEgY2VydGlmaWNhdGU=", "holds no certificate"),
        ("?", "holds no certificate"),
        (b64encode(TestAuthority("a.example").root.public_bytes(Encoding.PEM)).decode(), "is of somebody else"),
    ],
    ids=["empty", "no PEM", "no base64", "foreign"],
)
def test_a_bundle_that_does_not_vouch_for_the_webhook(here: Installation, bundle: str, words: str) -> None:
    here.the(MUTATING_WEBHOOKS, "handfast")["webhooks"][0]["clientConfig"]["caBundle"] = bundle
    assert words in here.problem("ca-bundle").message


def test_a_bundle_in_the_middle_of_a_rotation_vouches(here: Installation) -> None:
    both = b"".join(each.root.public_bytes(Encoding.PEM) for each in (TestAuthority("cluster.local"), AUTHORITY))
    here.the(MUTATING_WEBHOOKS, "handfast")["webhooks"][0]["clientConfig"]["caBundle"] = b64encode(both).decode()
    assert here.problems() == []


def test_what_the_api_server_says_to_a_pod_is_quoted(here: Installation) -> None:
    here.fields = {"trial": "failed calling webhook: context deadline exceeded"}
    assert "context deadline exceeded" in here.problem("admission").message


# --- trust


def test_trust_domains(here: Installation) -> None:
    here.objects[TRUST_DOMAINS].append(trust_domain("b.example", status="False", reason="NotServed", message="No."))
    found = here.problem("trust-domain")
    assert (found.level, found.object) == (Level.WARNING, "TrustDomain b.example")
    here.objects[TRUST_DOMAINS] = []
    assert "there is none" in here.problem("trust-domain").message
    here.objects[TRUST_DOMAINS] = [trust_domain(status="False", reason="NoAuthority", message="No key.")]
    assert "NoAuthority: No key." in here.problem("trust-domain").message


def test_an_authority_whose_secret_is_lost(here: Installation) -> None:
    here.objects[AUTHORITIES] = []
    assert here.problem("authority-secret").object == f"Secret {SYSTEM}/handfast-authority-1"


def test_an_issuer_that_is_refused(here: Installation) -> None:
    [found] = here.objects[TRUST_DOMAINS]
    found["spec"]["issuer"] = {"secretRef": {"name": "corporate"}}
    found["status"]["conditions"][1] |= {"status": "False", "reason": "NotACa", "message": "It is no CA."}
    assert "NotACa: It is no CA." in here.problem("issuer").message


@pytest.mark.parametrize(
    ("days", "level"), [(80, None), (25, Level.WARNING), (10, Level.ERROR), (0, Level.ERROR), (-1, Level.ERROR)]
)
def test_a_root_that_ends(here: Installation, days: int, level: Level | None) -> None:
    ends = NOW + timedelta(days=days)
    life = {"notBefore": format_time(ends - timedelta(days=90)), "notAfter": format_time(ends)}
    here.objects[TRUST_DOMAINS][0]["status"]["authorities"][0] |= life
    if level is None:
        assert here.problems() == []
    else:
        assert here.problem("root-expiry").level is level


def test_certificates_of_the_operators_own(here: Installation) -> None:
    serving = here.objects[TRUST_DOMAINS][0]["status"]["serving"][0]
    serving |= {"notAfter": format_time(NOW + timedelta(hours=1))}
    assert "handfast-webhook" in here.problem("serving-certificates").message


def test_a_rotation_that_waits(here: Installation) -> None:
    rotation = here.objects[TRUST_DOMAINS][0]["status"]["rotation"]
    rotation |= {"state": "Distributing", "waiting": 2, "stragglers": [{"pod": "shop/cart", "reason": "unreported"}]}
    assert "shop/cart (unreported) and 1 more" in here.problem("rotation").message
    rotation |= {"state": "Paused", "waiting": 0}
    assert here.problem("rotation").remedy == "handfast rotate --resume"


# --- pods


@pytest.mark.parametrize("label", ["handfast.dev/inject", "handfast.dev/injection", "handfast.io/inject"])
def test_a_label_that_nobody_reads(label: str) -> None:
    here = Installation()
    here.namespace("typo", **{label: "true"})
    assert f"{label}=true" in here.problem("inject-label").message
    assert here.before("inject-label").object == "Namespace typo"


@pytest.mark.parametrize("label", ["istio-injection", "team", "sidecar.istio.io/inject", "linkerd.io/inject"])
def test_labels_of_others_are_left_alone(label: str) -> None:
    here = Installation()
    here.namespace("a", **{label: "enabled"})
    assert here.problems() == []


def test_a_namespace_that_forbids_what_it_asks_for() -> None:
    here = Installation()
    here.namespace("locked", **OPTED_IN, **{POD_SECURITY: "restricted"})
    assert "restricted" in here.problem("pod-security").message
    explicit = here.pod("cart", "locked")
    explicit["spec"]["initContainers"][0]["env"] = [{"name": "HANDFAST_INTERCEPTION", "value": "none"}]
    here.report("cart")
    assert here.problems() == []


def test_pods_that_have_no_sidecar(here: Installation) -> None:
    here.pod("cart", "shop", meshed=False)
    found = here.problem("pods-without-sidecar")
    assert (found.level, found.object) == (Level.ERROR, "Pod shop/cart")
    assert found.remedy.startswith("restart it")
    here.objects[PODS][-1]["spec"]["hostNetwork"] = True
    assert here.problem("pods-without-sidecar").level is Level.WARNING


def test_an_old_sidecar(here: Installation) -> None:
    here.objects[PODS][0] = pod("orders", "shop", image="handfast/sidecar:0.1.0")
    found = here.problem("old-sidecars")
    assert (found.level, "handfast/sidecar:0.1.0" in found.message) == (Level.WARNING, True)


def test_a_sidecar_that_was_not_heard_of(here: Installation) -> None:
    here.report("orders", age_s=61)
    assert "not heard of for a minute" in here.problem("silent-sidecars").message
    here.reports.clear()
    assert here.problem("silent-sidecars").object == "Pod shop/orders"
    here.objects[PODS][0]["status"]["startTime"] = format_time(NOW - timedelta(seconds=30))
    assert here.problems() == [], "it has just begun"


@pytest.mark.parametrize(("left", "level"), [(0.3, Level.WARNING), (0.1, Level.ERROR), (-0.1, Level.ERROR)])
def test_a_leaf_that_was_not_renewed(here: Installation, left: float, level: Level) -> None:
    here.report("orders", left=left)
    assert here.problem("leaf-expiry").level is level


def _network_policy(name: str, namespace: str, labels: dict[str, str], port: int) -> Json:
    rule = {"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": port}]}
    meta = {"name": name, "namespace": namespace, "uid": name, "resourceVersion": "1"}
    return {"metadata": meta, "spec": {"podSelector": {"matchLabels": labels}, "ingress": [rule]}}


@pytest.mark.parametrize(
    ("namespace", "labels", "port", "words"),
    [
        ("shop", {"app": "orders"}, 8080, "14008"),
        (SYSTEM, {"app.kubernetes.io/component": "directory"}, 9999, "14010"),
        (SYSTEM, {"app.kubernetes.io/component": "webhook"}, 9999, "14443"),
    ],
)
def test_a_network_policy_in_the_way(
    here: Installation, namespace: str, labels: dict[str, str], port: int, words: str
) -> None:
    here.pod("client", "shop")
    here.report("client")
    here.objects[NETWORK_POLICIES] = [_network_policy("closed", namespace, labels, port)]
    found = here.problem("network-policies")
    assert words in found.message
    assert "NetworkPolicy" in found.message


ASKED = {"ports": [{"protocol": "TCP", "port": 14032}]}
SIBLINGS = {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "directory"}}}
STREAMS = {"ports": [{"protocol": "TCP", "port": 14010}]}


def _of_directory(**spec: Any) -> Json:
    meta = {"name": "narrow", "namespace": SYSTEM, "uid": "narrow", "resourceVersion": "1"}
    return {"metadata": meta, "spec": {**SIBLINGS, **spec}}


@pytest.fixture
def two(here: Installation) -> Installation:
    """With two replicas of the directory."""
    second = own_pod("directory")
    second["metadata"] |= {"name": "handfast-directory-1", "uid": "uid-handfast-directory-1"}
    here.objects[OWN_PODS].append(second)
    here.the(DEPLOYMENTS, "handfast-directory")["spec"]["replicas"] = 2
    return here


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"ingress": [STREAMS]}, "does not admit TCP port 14032 from"),
        ({"ingress": [STREAMS, ASKED | {"from": [{"podSelector": {"matchLabels": {"app": "x"}}}]}]}, "does not admit"),
        ({"policyTypes": ["Egress"], "egress": [{"ports": [{"port": 443}]}]}, "does not open TCP port 14032 to"),
        ({"policyTypes": ["Egress"], "egress": []}, "does not open TCP port 14032 to"),
    ],
)
def test_replicas_of_the_directory_that_cannot_ask_each_other(two: Installation, spec: Json, words: str) -> None:
    two.objects[NETWORK_POLICIES] = [_of_directory(**spec)]
    found = two.problem("network-policies")
    assert (found.level, words in found.message) == (Level.WARNING, True)
    assert "handfast-directory" in found.object
    assert "port: 14032" in found.remedy
    del two.objects[OWN_PODS][-1]
    two.the(DEPLOYMENTS, "handfast-directory")["spec"]["replicas"] = 1
    assert two.problems() == [], "one replica has nobody to ask"


@pytest.mark.parametrize(
    "spec",
    [
        {"ingress": [STREAMS, ASKED]},
        {"ingress": [STREAMS, ASKED | {"from": [SIBLINGS]}]},
        {"policyTypes": ["Egress"], "egress": [ASKED | {"to": [SIBLINGS]}]},
    ],
)
def test_replicas_of_the_directory_that_can(two: Installation, spec: Json) -> None:
    two.objects[NETWORK_POLICIES] = [_of_directory(**spec)]
    assert two.problems() == []


def test_the_charts_own_network_policies_keep_nobody_apart(two: Installation) -> None:
    manifest = Path(__file__).parents[1] / "chart" / "rendered" / "everything.yaml"
    found = [each for each in yaml.safe_load_all(manifest.read_text()) if each and each["kind"] == "NetworkPolicy"]
    assert len(found) > 2
    for each in found:
        each["metadata"] |= {"uid": each["metadata"]["name"], "resourceVersion": "1"}
    for own in two.objects[OWN_PODS]:
        own["metadata"]["labels"]["app.kubernetes.io/instance"] = "handfast"
    two.objects[NETWORK_POLICIES] = found
    assert two.problems() == []


@pytest.mark.parametrize("kind", [MTLS_POLICIES, CLUSTER_MTLS_POLICIES], ids=["namespaced", "cluster"])
def test_a_policy_in_conflict(here: Installation, kind: Any) -> None:
    conditions = [{"type": "Conflicted", "status": "True", "reason": "OlderPolicyWins", "message": "Older decides."}]
    spaces = {"namespace": "shop"} if kind is MTLS_POLICIES else {}
    meta = {"name": "second", "uid": "u", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z", **spaces}
    here.objects[kind] = [{"metadata": meta, "spec": {}, "status": {"conditions": conditions}}]
    found = here.problem("policies")
    assert (found.level, "OlderPolicyWins" in found.message) == (Level.WARNING, True)


def test_what_the_chart_has_is_brought_back_with_its_own_new_values(here: Installation) -> None:
    here.lose(SERVICES, "handfast-webhook")
    upgrade = f"helm upgrade handfast charts/handfast -n {SYSTEM} --reset-then-reuse-values"
    assert here.problem("service-endpoints").remedy == upgrade


# --- what could not be looked at


def test_what_may_not_be_read_is_never_ok(here: Installation) -> None:
    facts = replace(here.facts(), unread={CLUSTER_ROLES: "jane may not list it", Asked.EVIDENCE: "nobody answered"})
    report = judge(AFTER, facts)
    assert {each.check for each in report.unseen} == {"permissions", "silent-sidecars", "leaf-expiry"}
    assert not {each.check for each in report.unseen} & {each.check for each in report.findings}
    assert report.unseen[0].message == "jane may not list it"
