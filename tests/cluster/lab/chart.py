"""The chart as Helm renders it, kept in files: for the lab, and for tests of the chart. A fresh machine has no Helm."""

from pathlib import Path

from cluster.kube.client import Kubectl
from cluster.kube.places import KUBECONFIG, REPOSITORY
from cluster.kube.release import CHART, RELEASE
from cluster.release import NAMESPACE
from handfast_lab.install import HANDFAST

__all__ = ["HANDFAST", "KEPT", "VALUES", "rendered", "write"]

HEADER = "# What the Helm chart installs, rendered by `make lab-chart`. Not for clusters: use the chart.\n"
VALUES = REPOSITORY / "tests" / "chart" / "values"
_RENDERED = REPOSITORY / "tests" / "chart" / "rendered"
LAB = (
    "--skip-tests",
    *(f"--set={role}.replicas=1" for role in ("controller", "webhook", "directory")),
    "--set-json=topologySpreadConstraints=[]",
)
"""One of each, and nothing about where: a lab has one machine."""


def _of(name: str) -> tuple[str, ...]:
    """The custom resources are in the lab's file already, and thousands of lines."""
    return (f"--values={VALUES / f'{name}.yaml'}", "--set=crds.enabled=false")


KEPT: dict[Path, tuple[str, ...]] = {
    HANDFAST: LAB,
    **{_RENDERED / f"{name}.yaml": _of(name) for name in ("default", "everything")},
}
"""Each file, and Helm's words for what is in it."""


def rendered(*words: str) -> str:
    """What `helm template` makes of the chart now."""
    return HEADER + Kubectl(KUBECONFIG).helm("template", RELEASE, str(CHART), f"--namespace={NAMESPACE}", *words)


def write() -> None:
    """Write all of them anew."""
    for path, words in KEPT.items():
        path.write_text(rendered(*words))
