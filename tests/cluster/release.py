"""Handfast itself on a cluster: its Deployments, whoever installed them."""

import time
from abc import ABC, abstractmethod

from cluster.kube.client import Kubectl
from cluster.kube.errors import ClusterError
from cluster.kube.manifests import to_text

NAMESPACE = "handfast-system"
DEPLOYMENTS = ("handfast-controller", "handfast-webhook", "handfast-directory")
ADMITTING_S = 15
INSTALL_S = 120


class Release(ABC):
    """What tests do with an installed Handfast."""

    namespace = NAMESPACE

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl

    @abstractmethod
    def install(self, *settings: str) -> None:
        """Install or upgrade until it works; `settings`: further `key=value` of the chart, where there is one."""

    @abstractmethod
    def uninstall(self) -> None:
        """As a user would; the namespace stays."""

    def wait_working(self) -> None:
        """Until all Deployments are Available, and a pod that opts in is admitted."""
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

    def replace_pods(self) -> None:
        """Kill all its pods at once; return when others have taken their places and work."""
        killed = {deployment: set(self.pods(deployment)) for deployment in DEPLOYMENTS}
        for pod in (pod for pods in killed.values() for pod in pods):
            self._kubectl("delete", "pod", pod, f"--namespace={NAMESPACE}", "--grace-period=0", "--force")
        for deployment, before in killed.items():
            # A Deployment goes on saying Available until it has noticed: the new pods are asked themselves.
            for pod in self._others(deployment, before):
                self._kubectl.wait("pod", pod, "condition=Ready", NAMESPACE, timeout_s=INSTALL_S)
        self.wait_working()

    def _others(self, deployment: str, before: set[str]) -> list[str]:
        deadline = time.monotonic() + INSTALL_S
        while True:
            now = self.pods(deployment)
            if now and before.isdisjoint(now):
                return now
            if time.monotonic() > deadline:
                raise ClusterError(f"no pod took the place of {', '.join(sorted(before))} of {deployment}")
            time.sleep(0.2)

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
