"""The chart on a real API server: what it renders is taken, what it promises of upgrade and uninstall holds."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.errors import ClusterError
from cluster.kube.manifests import to_text
from cluster.kube.places import REPOSITORY
from cluster.kube.release import CHART, RELEASE
from cluster.lab.chart import VALUES, rendered
from cluster.mesh import until
from cluster.release import NAMESPACE, Release

pytestmark = pytest.mark.usefixtures("handfast")
WHERE = f"--namespace={NAMESPACE}"
INSTALL = REPOSITORY / "docs" / "install.md"
CRDS = "customresourcedefinitions"
POLICY = {"apiVersion": "handfast.dev/v1alpha1", "kind": "MTLSPolicy", "spec": {"mode": "Permissive"}}
Upgrade = Callable[..., str]


@pytest.fixture
def upgrade(cluster: Cluster) -> Upgrade:
    """`helm upgrade` with what is installed, and further words; what it printed."""

    def run(*words: str, chart: Path = CHART) -> str:
        return cluster.helm("upgrade", RELEASE, str(chart), WHERE, "--reset-then-reuse-values", "--wait", *words)

    return run


@pytest.fixture
def put_back(handfast: Release) -> Iterator[None]:
    """Whatever the test has made of the release, the next one finds it as the session began it."""
    yield
    handfast.install()


@pytest.mark.parametrize("values", sorted(VALUES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_api_server_takes_all_of_it_without_a_warning(cluster: Cluster, values: Path) -> None:
    # Also in a dry run the API server needs the namespace of the test's Role, and the account of its Pod, to be there.
    objects = rendered(f"--values={values}", "--set=test.namespace=default")
    objects = objects.replace("serviceAccountName: handfast-test", "serviceAccountName: handfast-webhook")
    words = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-"]
    done = subprocess.run(
        cluster.command("kubectl", *words), input=objects, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "deployment.apps/handfast-webhook serverside-applied" in done.stdout


def test_custom_resources_are_kept_unless_the_values_say_otherwise(cluster: Cluster) -> None:
    kept = {"app.kubernetes.io/managed-by: Helm", "helm.sh/resource-policy: keep"}
    assert {each for each in kept if each in rendered()} == kept
    assert "resource-policy" not in rendered("--set=crds.keep=false")
    assert "kind: CustomResourceDefinition" not in rendered("--set=crds.enabled=false")


def test_helm_refuses_a_wrong_value_and_says_which(upgrade: Upgrade) -> None:
    with pytest.raises(ClusterError, match=r"at '/webhook/replicas': got string, want integer"):
        upgrade("--set-string=webhook.replicas=two")
    with pytest.raises(ClusterError, match=r"additional properties 'webhok' not allowed"):
        upgrade("--set=webhok.replicas=2")


@pytest.mark.alone
def test_another_trust_domain_is_refused_before_anything_changes(cluster: Cluster, upgrade: Upgrade) -> None:
    before = cluster.helm("history", RELEASE, WHERE)
    with pytest.raises(
        ClusterError, match=r'the release that runs has "cluster\.local".*Set trustDomain=cluster\.local'
    ):
        upgrade("--set=trustDomain=other.example")
    assert cluster.helm("history", RELEASE, WHERE) == before


def test_a_second_installation_is_refused(cluster: Cluster, namespace: NamespaceFactory) -> None:
    with pytest.raises(ClusterError, match=f"installed already, in the namespace {NAMESPACE}: a cluster has one"):
        cluster.helm("install", "another", str(CHART), f"--namespace={namespace()}", "--take-ownership")


@pytest.mark.alone
def test_helm_test_passes_and_leaves_nothing(cluster: Cluster) -> None:
    said = cluster.helm("test", RELEASE, WHERE, "--logs")
    assert sorted(re.findall(r'"test": ?"(\w+)"', said)) == ["authority", "directory", "webhook"], said
    assert "failed" not in said
    assert left(cluster, "handfast-test") == []


def left(cluster: Cluster, name: str) -> list[str]:
    """What is there of objects whose name begins so, of the kinds that the chart makes."""
    kinds = "pods,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,validatingadmissionpolicies"
    listed = cluster("get", kinds, "--all-namespaces", "-o", "name").split()
    return [each for each in listed if each.partition("/")[2].startswith(name)]


@pytest.mark.alone
def test_the_account_of_helm_test_can_create_no_pod(cluster: Cluster) -> None:
    hooks = [each for each in yaml.safe_load_all(cluster.helm("get", "hooks", RELEASE, WHERE)) if each["kind"] != "Pod"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "made-by-the-test", "namespace": "default"},
        "spec": {"containers": [{"name": "app", "image": "none"}], "nodeSelector": {"no": "node"}},
    }
    account = f"--as=system:serviceaccount:{NAMESPACE}:handfast-test"

    def refused() -> bool:
        """A policy is in force some time after it is written."""
        try:
            cluster("create", "-f", "-", account, stdin=json.dumps(pod))
        except ClusterError as error:
            return "may create pods in a dry run only" in str(error)
        cluster.delete("pod", "made-by-the-test", "default")
        return False

    cluster.apply(hooks)
    try:
        until("the account to be refused", refused)
        said = cluster("create", "-f", "-", account, "--dry-run=server", stdin=json.dumps(pod))
        assert "created (server dry run)" in said
    finally:
        cluster("delete", "-f", "-", stdin=to_text(hooks))


@pytest.mark.alone
def test_an_upgrade_brings_new_custom_resources_and_a_rollback_the_old_ones_and_policies_stay(
    cluster: Cluster, upgrade: Upgrade, namespace: NamespaceFactory, tmp_path: Path, put_back: None
) -> None:
    here = namespace()
    cluster.apply(POLICY | {"metadata": {"name": "mine", "namespace": here}})
    uid = cluster.get("mtls", "mine", here)["metadata"]["uid"]
    newer = Path(shutil.copytree(CHART, tmp_path / "chart"))
    crd = newer / "files" / "crds" / "mtlspolicies.yaml"
    crd.write_text(crd.read_text().replace("shortNames: [mtls]", "shortNames: [mtls, newer]"))
    upgrade(chart=newer)
    assert cluster.get("newer", "mine", here)["metadata"]["uid"] == uid
    cluster.helm("rollback", RELEASE, WHERE, "--wait")
    assert short_names(cluster) == ["mtls"]
    assert cluster.get("mtls", "mine", here)["metadata"]["uid"] == uid


def short_names(cluster: Cluster) -> list[str]:
    found: list[str] = cluster.get(CRDS, "mtlspolicies.handfast.dev")["spec"]["names"]["shortNames"]
    return found


@pytest.mark.alone
def test_an_uninstall_leaves_what_the_page_says_and_the_pages_commands_leave_nothing(
    cluster: Cluster, namespace: NamespaceFactory, put_back: None
) -> None:
    here = namespace()
    cluster.apply(POLICY | {"metadata": {"name": "mine", "namespace": here}})
    cluster.helm("uninstall", RELEASE, WHERE, "--wait")
    others = {each for each in everywhere(cluster) if each.startswith("mtlspolicy/") and here not in each}
    assert {each for each in everywhere(cluster) - others if not each.startswith("event")} == {
        f"namespace/{NAMESPACE}",
        "apiservice/v1alpha1.handfast.dev",  # the API server's own, of the definitions
        *(f"customresourcedefinition/{name}.handfast.dev" for name in KINDS),
        f"mtlspolicy/{here}/mine",
        "trustdomain/cluster.local",
        f"secret/{NAMESPACE}/handfast-authority-N",
        f"secret/{NAMESPACE}/handfast-webhook-tls",
        f"secret/{NAMESPACE}/handfast-directory-tls",
        f"configmap/{NAMESPACE}/handfast-bundle",
        f"lease/{NAMESPACE}/handfast-controller",
    }
    for line in commands("### And nothing stays"):
        cluster(*line.removeprefix("kubectl ").split())
    assert everywhere(cluster) == set()


KINDS = ("mtlspolicies", "clustermtlspolicies", "trustdomains", "accessrequests", "accessgrants")


def commands(heading: str) -> list[str]:
    """The commands below a heading of the page, with lines that go on put together."""
    _, _, below = INSTALL.read_text().partition(f"\n{heading}\n")
    section = below.partition("\n#")[0].replace("\\\n", "")
    found = [line.strip() for line in section.splitlines() if line.startswith("    kubectl ")]
    assert found, f"{INSTALL.name} has no commands below {heading}"
    return found


def everywhere(cluster: Cluster) -> set[str]:
    """Whatever is Handfast's, in the whole cluster: kind, namespace, name."""
    listed = cluster("api-resources", "--verbs=list", "-o", "name").split()
    found = json.loads(cluster("get", ",".join(listed), "--all-namespaces", "-o", "json"))["items"]
    return {
        "/".join(filter(None, (each["kind"].lower(), meta.get("namespace"), numbered(meta["name"]))))
        for each in found
        for meta in [each["metadata"]]
        if "handfast" in f"{meta['name']}{each['apiVersion']}{meta.get('labels')}"
        # A release's own record is Helm's; pods of other tests have Secrets that go with them.
        and not meta["name"].startswith("sh.helm.release")
        and not meta.get("ownerReferences")
    }


def numbered(name: str) -> str:
    """As the page has it, however many roots there were."""
    return re.sub(r"^(handfast-authority)-\d+$", r"\1-N", name)


@pytest.mark.alone
def test_the_issuer_of_the_values_is_that_of_a_trust_domain_that_is_made_and_a_later_one_is_not_ignored_in_silence(
    cluster: Cluster, handfast: Release, put_back: None
) -> None:
    handfast.uninstall()
    cluster.delete("trustdomain", "cluster.local")
    handfast.install("issuer.secretName=corporate-ca")
    assert 'issuer.secretName is "corporate-ca": until that Secret is in handfast-system' in notes(cluster)
    assert cluster.get("trustdomain", "cluster.local")["spec"]["issuer"] == {"secretRef": {"name": "corporate-ca"}}
    handfast.install("issuer.secretName=other-ca")
    assert 'issuer.secretName is "other-ca", but the TrustDomain cluster.local exists already' in notes(cluster)
    until("the condition to tell", lambda: "other-ca, without effect" in accepted(cluster))
    command = notes(cluster).partition("    kubectl ")[2].partition("}}}}'")[0].replace("\\\n", "") + "}}}}'"
    cluster(*shlex.split(command))
    until("the condition to be content", lambda: "without effect" not in accepted(cluster))
    missing = "handfast-system/other-ca that spec.issuer.secretRef names does not exist"
    until("the Secret to be missed", lambda: missing in accepted(cluster))
    own = '{"spec": {"issuer": {"selfSigned": {}, "secretRef": null}}}'
    cluster("patch", "trustdomain", "cluster.local", "--type=merge", "-p", own)


def notes(cluster: Cluster) -> str:
    """What Helm says at the end of an upgrade."""
    return cluster.helm("get", "notes", RELEASE, WHERE)


def accepted(cluster: Cluster) -> str:
    """What the TrustDomain says of its issuer."""
    found = cluster.get("trustdomain", "cluster.local").get("status", {}).get("conditions", [])
    return "".join(each["message"] for each in found if each["type"] == "IssuerAccepted")
