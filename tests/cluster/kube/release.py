"""Handfast itself on a cluster: the chart of this work tree, installed by Helm with images made from it."""

import time

from cluster.kube.client import Kubectl
from cluster.kube.errors import ClusterError, PartDied
from cluster.kube.images import Images
from cluster.kube.manifests import to_text
from cluster.kube.places import REPOSITORY

NAMESPACE = "handfast-system"
RELEASE = "handfast"
CHART = REPOSITORY / "charts" / "handfast"
DEPLOYMENTS = ("handfast-controller", "handfast-webhook", "handfast-directory")
ADMITTING_S = 15
INSTALL_S = 120


class Release:
    """Handfast as Helm installed it."""

    namespace = NAMESPACE

    def __init__(self, kubectl: Kubectl, images: Images) -> None:
        self._kubectl = kubectl
        self.images = images

    def install(self, *settings: str) -> None:
        """Install or upgrade until all Deployments are Available; `settings`: further `key=value` of the chart."""
        if self.installed():
            # Helm installs CRDs once and never changes them again; a person is told to do this, so we do it.
            self._kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CHART / "crds"))
        chosen = (f"--set={setting}" for setting in (*image_settings(self.images), *settings))
        where = [f"--namespace={NAMESPACE}", "--create-namespace", "--wait", f"--timeout={INSTALL_S}s"]
        try:
            self._kubectl.helm("upgrade", RELEASE, str(CHART), "--install", *where, *chosen, timeout_s=INSTALL_S + 60)
        except ClusterError as error:
            raise PartDied(f"{error}\n{self.last_words()}") from error
        for deployment in DEPLOYMENTS:
            self.wait_available(deployment)
        self._wait_admitting()

    def _wait_admitting(self) -> None:
        """Until a pod that opts in is admitted: kube-proxy learns of the webhook a moment after it is Available."""
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "probe", "namespace": "default", "labels": {"handfast.dev/inject": "enabled"}},
            "spec": {"containers": [{"name": "app", "image": "probe"}]},
        }
        deadline = time.monotonic() + ADMITTING_S
        while True:
            try:
                self._kubectl("create", "--dry-run=server", "-f", "-", stdin=to_text([pod]))
            except ClusterError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def installed(self) -> bool:
        """Whether Helm knows the release, in whatever state."""
        return bool(self._kubectl.helm("list", f"--namespace={NAMESPACE}", "--short").split())

    def uninstall(self) -> None:
        """As a user would; the namespace stays, as Helm leaves it."""
        self._kubectl.helm("uninstall", RELEASE, f"--namespace={NAMESPACE}", "--ignore-not-found", "--wait")

    def scale(self, deployment: str, replicas: int) -> None:
        """Return when so many pods are there: at 0 when the last one is gone, otherwise when all are Available."""
        self._kubectl("scale", f"deployment/{deployment}", f"--replicas={replicas}", f"--namespace={NAMESPACE}")
        self._kubectl(
            "rollout",
            "status",
            f"deployment/{deployment}",
            f"--namespace={NAMESPACE}",
            f"--timeout={INSTALL_S}s",
            timeout_s=INSTALL_S + 10,
        )
        if replicas == 0:
            for pod in self.pods(deployment):
                self._kubectl.wait("pod", pod, "delete", NAMESPACE)

    def wait_available(self, deployment: str) -> None:
        """Until the Deployment says so itself."""
        self._kubectl.wait("deployment", deployment, "condition=Available", NAMESPACE, timeout_s=INSTALL_S)

    def pods(self, deployment: str) -> list[str]:
        """The names of its pods, by the selector that the Deployment has."""
        labels = self._kubectl.get("deployment", deployment, NAMESPACE)["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        return [pod["metadata"]["name"] for pod in self._kubectl.list("pods", NAMESPACE, selector=selector)]

    def logs(self, deployment: str) -> str:
        """What all its pods have printed."""
        return "".join(self._kubectl.logs(pod, NAMESPACE) for pod in self.pods(deployment))

    def last_words(self) -> str:
        """Of each of its pods: how it is, and the end of what it printed."""
        told = [self._kubectl("get", "pods", "--output=wide", f"--namespace={NAMESPACE}")]
        for pod in self._kubectl.list("pods", NAMESPACE):
            name = pod["metadata"]["name"]
            try:
                told.append(f"--- {name}\n" + self._kubectl("logs", name, "--tail=15", f"--namespace={NAMESPACE}"))
            except ClusterError as error:
                told.append(f"--- {name}\n{error}")
        return "\n".join(told)


def image_settings(images: Images) -> list[str]:
    """The chart's values that name our images."""
    found = []
    for part, reference in (("operator", images.operator), ("sidecar", images.sidecar)):
        repository, _, tag = reference.rpartition(":")
        found += [f"images.{part}.repository={repository}", f"images.{part}.tag={tag}"]
    return found
