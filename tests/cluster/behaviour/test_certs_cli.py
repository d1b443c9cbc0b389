"""`handfast certs` and `handfast rotate` beside a real rotation: what they tell is what the Secrets then hold."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.workloads import Workloads
from cluster.mesh import leaf_of, secret_of, until
from cluster.rotations import steer
from cluster.stragglers import paused
from support.transcript import commands, difference

PAGE: Final = Path(__file__).parents[3] / "docs" / "cli.md"
pytestmark = pytest.mark.usefixtures("handfast")
Json = dict[str, Any]
COMMAND = [sys.executable, "-m", "handfast_operator.cli"]
ROTATION_S = 150.0
"""kubelet brings a changed Secret within a minute or so, and a rotation waits for it twice."""


def started(cluster: Cluster, *words: str) -> subprocess.Popen[str]:
    """`handfast WORDS...`, as somebody types it."""
    environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig)}
    return subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def ended(process: subprocess.Popen[str], timeout_s: float = 60) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"not ended after {timeout_s:g} s; it said: {out}{err}")
    return process.returncode, out, err


def told(cluster: Cluster, *words: str) -> tuple[int, Json]:
    """The exit code, and the answer as data."""
    code, out, err = ended(started(cluster, *words, "--output=json"))
    assert out, err
    return code, json.loads(out)


def signing(cluster: Cluster) -> str:
    """Name of the authority that signs."""
    [found] = [
        each["name"]
        for each in cluster.get("trustdomain", "cluster.local")["status"]["authorities"]
        if each["state"] == "Active"
    ]
    return str(found)


def page_says(words: str, printed: str, **names: str) -> None:
    """docs/cli.md shows this command, with other names of namespaces and authorities."""
    for name, shown in names.items():
        printed = printed.replace(name, shown)
    [command] = [each for each in commands(PAGE.read_text()) if each.words == words]
    if problem := difference(command.expected, printed):
        pytest.fail(problem)


def row(cluster: Cluster, namespace: str, pod: str) -> Json:
    return next((each for each in told(cluster, "certs", "-n", namespace)[1]["pods"] if each["pod"] == pod), {})


def active(found: Json) -> Json:
    """The authority that signs, as it is told."""
    [signs] = [each for each in found["authorities"] if each["state"] == "Active"]
    return dict(signs)


def until_said(process: subprocess.Popen[str], words: str) -> str:
    """What it has printed when it says that."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(said)


def _slow(namespace: str) -> str:
    """A pod that a rotation is made to wait for: the machine has one of that name."""
    return f"slow-{namespace}"


def _client(namespace: str) -> str:
    """Another one."""
    return f"client-{namespace}"


def _as_on_the_page(shop: str) -> dict[str, str]:
    """What the page calls these; those with the namespace in their names first."""
    return {_slow(shop): "slow", _client(shop): "client", shop: "shop"}


@pytest.fixture(scope="module")
def shop(cluster: Cluster, workloads: Workloads, module_namespace: NamespaceFactory) -> str:
    here = module_namespace("shop", inject=True)
    pods = ["orders", _client(here), _slow(here)]
    cluster.apply_ready(
        *workloads.server("orders", here, "http"), *(workloads.pod(each, here) for each in pods if each != "orders")
    )
    until("all are heard of", lambda: all(row(cluster, here, f"{here}/{each}").get("loaded") for each in pods), 60)
    return here


def test_each_pod_is_told_with_the_leaf_that_it_runs_with(cluster: Cluster, shop: str) -> None:
    code, found = told(cluster, "certs", "-n", shop)
    assert code == 0
    leaf = leaf_of(secret_of(cluster, "orders", shop))
    [orders] = [each for each in found["pods"] if each["pod"] == f"{shop}/orders"]
    assert orders["loaded"] == orders["secret"]
    assert (orders["loaded"]["serial"], orders["state"]) == (leaf.serial, "ok")
    assert orders["issuer"] == signing(cluster)
    assert {each["name"] for each in found["serving"]} == {"webhook", "directory"}
    assert active(found)["within"] is None
    # The operator counts when it hears of them, which may be a moment after the directory did.
    until("all are counted", lambda: active(told(cluster, "certs", "-n", shop)[1])["pods"] >= 3)


def test_the_table_is_as_the_page_shows_it_and_expiring_says_when_there_is_nothing(cluster: Cluster, shop: str) -> None:
    code, out, _ = ended(started(cluster, "certs", "-n", shop))
    assert code == 0
    # Pods of other tests have certificates of the same authority.
    out = re.sub(r"(?<=selfSigned   )\d+", "3", out, count=1)
    page_says("handfast certs -n shop", out, **_as_on_the_page(shop), **{signing(cluster): "handfast-authority-1"})
    code, out, _ = ended(started(cluster, "certs", "-n", shop, "--expiring"))
    assert (code, out) == (
        0,
        f"No certificate of the 3 pods with a sidecar in the namespace {shop} is past its renewal.\n",
    )


@pytest.mark.slow_on_kubernetes
@pytest.mark.timeout(400)
def test_a_rotation_is_followed_to_its_end_and_certs_shows_it_on_the_way(cluster: Cluster, shop: str) -> None:
    before = signing(cluster)
    with ExitStack() as until_it_drains:
        with paused(_slow(shop)):
            rotating = started(cluster, "rotate", "--timeout", f"{ROTATION_S:.0f}s")
            said = until_said(rotating, f"waits for {shop}/{_slow(shop)}: ")
            found = told(cluster, "certs", "-n", shop)[1]
            assert {each["name"]: each["state"] for each in found["authorities"]}[before] == "Active"
            assert found["rotation"]["state"] == "Distributing"
            waiting = told(cluster, "rotate", "--status")[1]["rotation"]["stragglers"]
            assert f"{shop}/{_slow(shop)}" in [each["pod"] for each in waiting]
            assert signing(cluster) == before
            said += until_said(rotating, f"no longer for {shop}/{_client(shop)}")
            # It trusts the new root and stands still: the old one is needed for as long, however fast the others are.
            until_it_drains.enter_context(paused(_client(shop)))
        said += until_said(rotating, "Draining: ")
    code, out, err = ended(rotating, ROTATION_S + 30)
    assert code == 0, said + out + err
    after = signing(cluster)
    assert after != before
    names = {before: "handfast-authority-1", after: "handfast-authority-2"}
    page_says("handfast rotate", said + out, **_as_on_the_page(shop), **names)
    for pod in ("orders", _client(shop)):
        assert row(cluster, shop, f"{shop}/{pod}")["issuer"] == after
    assert told(cluster, "rotate", "--status")[1]["rotation"]["state"] == "Idle"


@pytest.mark.slow_on_kubernetes
@pytest.mark.timeout(400)
def test_ctrl_c_leaves_a_rotation_going_and_going_back_makes_the_old_root_sign(cluster: Cluster, shop: str) -> None:
    before = signing(cluster)
    with paused(_slow(shop)):
        rotating = started(cluster, "rotate")
        until_said(rotating, f"waits for {shop}/{_slow(shop)}: ")
        rotating.send_signal(signal.SIGINT)
        code, _, err = ended(rotating)
        assert code == 130
        assert "The rotation goes on without you" in err
        assert told(cluster, "rotate", "--status")[1]["rotation"]["state"] == "Distributing"
        back = started(cluster, "rotate", "--back", "--timeout", f"{ROTATION_S:.0f}s")
        code, out, err = ended(back, ROTATION_S + 30)
    assert code == 0, out + err
    assert signing(cluster) == before
    # As the next `handfast rotate` would: until then no rotation begins.
    steer(cluster, back=None)
