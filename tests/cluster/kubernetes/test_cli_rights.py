"""The command line as somebody who may read two namespaces and little more, on a server that checks rights."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.workloads import Workloads
from cluster.release import NAMESPACE as SYSTEM
from support.shown import manifest

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"
pytestmark = pytest.mark.usefixtures("handfast")
COMMAND = [sys.executable, "-m", "handfast_operator.cli.main"]


@pytest.fixture
def jane(cluster: Cluster, tmp_path: Path) -> Path:
    """A kubeconfig of the administrator that acts as jane."""
    document = yaml.safe_load(cluster.kubeconfig.read_text())
    for each in document["users"]:
        each["user"]["as"] = "jane"
    path = tmp_path / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document))
    return path


def handfast(kubeconfig: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, answer, and what was said beside it."""
    done = subprocess.run(
        [*COMMAND, *words, "--output=json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"KUBECONFIG": str(kubeconfig)},
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def test_each_right_that_is_missing_is_named_until_the_answer_is_known(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory, jane: Path
) -> None:
    here = namespace("rights", inject=True)
    cluster.apply_ready(*workloads.server("orders", here, "http"), workloads.pod("client", here))
    question = ("why", "client", "service/orders:8080", "-n", here)

    code, _answer, said = handfast(jane, *question)
    assert code == 3
    assert f"jane may not get services in the namespace {here}" in said or "jane may not get pods" in said

    cluster("create", "rolebinding", "jane", "--clusterrole=view", "--user=jane", "-n", here)
    code, answer, said = handfast(jane, *question)
    assert (code, answer["verdict"]) == (3, "unknown")
    assert any("jane may not list clustermtlspolicies.handfast.dev" in each for each in answer["unread"])
    assert any(f"in the namespace {SYSTEM}" in each for each in answer["notes"])

    name = f"jane-{here}"
    kinds = "--resource=clustermtlspolicies.handfast.dev,trustdomains.handfast.dev"
    cluster("create", "clusterrole", name, "--verb=get,list", kinds)
    try:
        cluster("create", "clusterrolebinding", name, f"--clusterrole={name}", "--user=jane")
        code, answer, said = handfast(jane, *question)
        assert (code, answer["verdict"], answer["unread"]) == (0, "allowed", []), said
        code, _answer, said = handfast(jane, "edges", "-n", here)
        assert code == 3
        assert f"jane may not list pods in the namespace {SYSTEM}" in said

        cluster("create", "role", name, "--verb=get,list", "--resource=pods", "-n", SYSTEM)
        cluster("create", "rolebinding", name, f"--role={name}", "--user=jane", "-n", SYSTEM)
        code, _answer, said = handfast(jane, "edges", "-n", here)
        assert code == 3
        assert "pods/portforward" in said
    finally:
        for kind in ("clusterrolebinding", "clusterrole"):
            cluster.delete(kind, name)
        for kind in ("rolebinding", "role"):
            cluster.delete(kind, name, SYSTEM)


def test_with_the_role_of_the_page_a_bundle_lacks_nothing_but_the_metadata_of_secrets(
    cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory, jane: Path, tmp_path: Path
) -> None:
    here = namespace("rights", inject=True)
    cluster.apply_ready(workloads.pod("client", here))
    name = f"jane-{here}"
    question = ("diagnose", f"{here}/client", "-n", here, "-f", str(tmp_path / "bundle.tar.gz"))
    code, _answer, said = handfast(jane, *question)
    assert code == 0, said
    try:
        cluster.apply([manifest(PAGE.read_text(), "ClusterRole") | {"metadata": {"name": name}}])
        cluster("create", "clusterrolebinding", name, f"--clusterrole={name}", "--user=jane")
        code, answer, said = handfast(jane, *question)
        assert code == 0, said
        files = ("objects/identity-secrets.json", "operator/authority-secrets.json", "operator/serving-secrets.json")
        # A pod of the operator that ends meanwhile has no log any more, which is no right that is missing.
        lacking = {name: why for name, why in answer["missing"].items() if "may not" in why}
        assert set(lacking) == set(files), said
        assert all("jane may not list secrets in the namespace" in why for why in lacking.values())
        code, _answer, said = handfast(jane, "edges", "-n", here)
        assert code == 0, said
    finally:
        for kind in ("clusterrolebinding", "clusterrole"):
            cluster.delete(kind, name)
