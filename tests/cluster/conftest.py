"""Fixtures of the cluster tests. They fail where they cannot run: a test that skips in silence protects nobody."""

import json
import os
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from cluster import lab
from cluster.cluster import Cluster
from cluster.kube import evidence, provided
from cluster.kube.variant import VARIANTS
from cluster.kube.workloads import Workloads
from cluster.release import Release

HERE = Path(__file__).parent
TIMEOUT_S = 180
"""For a cluster test that sets none."""

RUNNING = pytest.StashKey[Cluster]()
KEPT = pytest.StashKey[dict[str, Path]]()


class Record(Protocol):
    """pytest's `record_property`, for figures: the run prints them at its end, as a line `FIGURES`."""

    def __call__(self, name: str, value: object) -> None:
        """`value`: as JSON has it, since another process may print it."""
        ...


class NamespaceFactory(Protocol):
    """Makes a namespace that goes with the test: its name."""

    def __call__(self, prefix: str = "test", *, inject: bool = False, labels: dict[str, str] | None = None) -> str:
        """`inject`: labelled `handfast.dev/inject: enabled`."""
        ...


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the cluster tests; their time runs from the test's first line, as fixtures may build for minutes.

    Those that are `slow_on_kubernetes` are left to `make test-cluster-slow` there; the lab runs them always.

    By signal: pytest-timeout's other method ends the whole process, and so would leave the cluster running.
    """
    for item in items:
        if item.path.is_relative_to(HERE):
            chosen = item.get_closest_marker("timeout")
            seconds = chosen.args[0] if chosen and chosen.args else TIMEOUT_S
            item.add_marker(pytest.mark.timeout(seconds, method="signal", func_only=True), append=False)
            item.add_marker(pytest.mark.cluster)
    if config.getoption("--platform") == "kubernetes" and not config.getoption("--slow"):
        slow = [item for item in items if item.get_closest_marker("slow_on_kubernetes")]
        items[:] = [item for item in items if item not in slow]
        config.hook.pytest_deselected(items=slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures that tests recorded, whichever process they ran in."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"FIGURES {name}: {json.dumps(value)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the logs while what failed is still there, and say where they are."""
    report = yield
    if not report.failed or report.when == "teardown" or RUNNING not in item.config.stash:
        return report
    # A session's fixture that failed fails every test after it, in the same words: its logs are wanted once.
    kept = item.config.stash.setdefault(KEPT, {})
    why = str(call.excinfo.value) if call.excinfo and report.when == "setup" else item.nodeid
    if why not in kept:
        kept[why] = evidence.keep(item.config.stash[RUNNING], item.name)
    report.sections.append(("cluster", f"logs of every part are in {kept[why]}"))
    return report


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """The lab; with `--platform kubernetes` that of HANDFAST_KUBECONFIG, else one that we start and end."""
    with _started(pytestconfig.getoption("--platform"), pytestconfig.getoption("--cluster-variant")) as started:
        pytestconfig.stash[RUNNING] = started
        yield started
        del pytestconfig.stash[RUNNING]


@pytest.fixture(scope="session")
def handfast(cluster: Cluster) -> Release:
    """Handfast, installed from this work tree, all of its Deployments Available.

    It is not uninstalled at the end: our own cluster ends anyway, and on one that stays the next run upgrades it.
    """
    installed = cluster.release()
    installed.install()
    return installed


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[NamespaceFactory]:
    """Makes namespaces that go with the test."""
    yield from namespaces(cluster)


@pytest.fixture(scope="module")
def module_namespace(cluster: Cluster) -> Iterator[NamespaceFactory]:
    """Makes namespaces that tests of one module share."""
    yield from namespaces(cluster)


@pytest.fixture(scope="session")
def workloads(cluster: Cluster) -> Workloads:
    """Manifests of the test applications."""
    return cluster.workloads


@contextmanager
def _started(platform: str, variant: str) -> Iterator[Cluster]:
    kubeconfig = provided.configured()
    if platform == "lab":
        with lab.started() as ours:
            yield ours
    elif kubeconfig is None:
        with provided.started(VARIANTS[variant]) as started:
            yield started
    else:
        found = provided.existing(kubeconfig, os.environ)
        found("get", "--raw", "/readyz")
        yield found


def namespaces(cluster: Cluster) -> Iterator[NamespaceFactory]:
    """What the fixtures yield, for one of another scope or another cluster."""
    made: list[str] = []

    def make(prefix: str = "test", *, inject: bool = False, labels: dict[str, str] | None = None) -> str:
        name = f"{prefix}-{uuid.uuid4().hex[:6]}"
        chosen = (labels or {}) | ({"handfast.dev/inject": "enabled"} if inject else {})
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": chosen}})
        made.append(name)
        cluster.wait("serviceaccount", "default", "create", name)  # no pod is admitted before
        return name

    yield make
    for name in made:
        cluster.delete("namespace", name, wait=False)
