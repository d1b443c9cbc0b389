"""Manifests of the test applications: plain Kubernetes, as a user of Handfast has it before he has heard of it."""

from collections.abc import Sequence
from typing import Any

from cluster.kube.manifests import Manifest

PORTS = {"http": 8080, "greeter": 2525, "sink": 9000, "echo": 7007, "grpc": 50051}
"""The port that each server verb of the test application listens on by default."""

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What the restricted Pod Security Standard asks of a container."""


class Workloads:
    """Builds manifests with one image; every method returns plain dictionaries, for a test to change and to apply."""

    def __init__(self, image: str) -> None:
        self._image = image

    def container(self, *verb: str, name: str = "app", **fields: Any) -> Manifest:
        """A container that runs the test application with these words."""
        return {
            "name": name,
            "image": self._image,
            "imagePullPolicy": "IfNotPresent",
            "args": list(verb),
            "securityContext": RESTRICTED,
        } | fields

    def pod(
        self,
        name: str,
        namespace: str,
        *verb: str,
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
        probe: Manifest | None = None,
        **spec: Any,
    ) -> Manifest:
        """A Pod; no `verb`: `idle`, a place to run clients in. Fields in `spec` win over ours."""
        chosen = verb or ("idle",)
        port = PORTS.get(chosen[0])
        fields: dict[str, Any] = {"ports": [{"containerPort": port}]} if port else {}
        ready = probe if probe is not None else self.tcp_probe(port)
        if ready:
            fields["readinessProbe"] = ready
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": {"app": name} | (labels or {}),
                "annotations": annotations or {},
            },
            "spec": {"terminationGracePeriodSeconds": 10, "containers": [self.container(*chosen, **fields)]} | spec,
        }

    def deployment(self, name: str, namespace: str, *verb: str, replicas: int = 1, **pod: Any) -> Manifest:
        """The same pod in a Deployment."""
        template = self.pod(name, namespace, *verb, **pod)
        template["metadata"] = {key: template["metadata"][key] for key in ("labels", "annotations")}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": template["metadata"], "spec": template["spec"]},
            },
        }

    def job(self, name: str, namespace: str, *verb: str, **spec: Any) -> Manifest:
        """A Job that runs one client to its end, once."""
        template = self.pod(name, namespace, *verb, restartPolicy="Never", **spec)
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "backoffLimit": 0,
                "template": {"metadata": {"labels": template["metadata"]["labels"]}, "spec": template["spec"]},
            },
        }

    def service(
        self, name: str, namespace: str, ports: Sequence[int], *, headless: bool = False, **spec: Any
    ) -> Manifest:
        """A Service in front of the pods labelled `app: name`."""
        listed = [{"name": f"port-{port}", "port": port} for port in ports]
        fields: dict[str, Any] = {"selector": {"app": name}, "ports": listed}
        if headless:
            fields["clusterIP"] = "None"
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": fields | spec,
        }

    def server(self, name: str, namespace: str, verb: str, **pod: Any) -> list[Manifest]:
        """A Pod and its Service on the verb's own port: what most tests want to talk to."""
        return [self.pod(name, namespace, verb, **pod), self.service(name, namespace, [PORTS[verb]])]

    @staticmethod
    def tcp_probe(port: int | None) -> Manifest | None:
        """Ready once the port accepts; asked each second, so that no test waits for kubelet's default of ten."""
        return {"tcpSocket": {"port": port}, "periodSeconds": 1} if port else None

    @staticmethod
    def http_probe(path: str = "/healthz", port: int = PORTS["http"]) -> Manifest:
        """As `tcp_probe`, by HTTP."""
        return {"httpGet": {"path": path, "port": port}, "periodSeconds": 1}

    @staticmethod
    def grpc_probe(port: int = PORTS["grpc"]) -> Manifest:
        """As `tcp_probe`, by gRPC's health service."""
        return {"grpc": {"port": port}, "periodSeconds": 1}
