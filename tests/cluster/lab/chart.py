"""The chart as the lab installs it: rendered by Helm once, because a fresh machine has no Helm."""

from cluster.kube.client import Kubectl
from cluster.kube.places import KUBECONFIG
from cluster.kube.release import CHART, RELEASE
from cluster.release import NAMESPACE
from handfast_lab.install import HANDFAST as RENDERED

__all__ = ["RENDERED", "rendered"]

HEADER = "# What the Helm chart installs, rendered for the lab by `make lab-chart`. Not for clusters: use the chart.\n"
SETTINGS = "webhook.replicas=1,directory.replicas=1"
"""One of each: a lab has one machine."""


def rendered() -> str:
    """What `helm template` makes of the chart now."""
    words = [RELEASE, str(CHART), f"--namespace={NAMESPACE}", "--include-crds", f"--set={SETTINGS}"]
    return HEADER + Kubectl(KUBECONFIG).helm("template", *words)
