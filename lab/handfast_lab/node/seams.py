"""What the node agent asks of the rest of the lab, besides the API: a network, images, tokens, facts of the node."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

Json = dict[str, Any]


class PodLink(Protocol):
    """A pod's place in the network."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """IPv4 first, IPv6 second."""
        ...

    @property
    def netns(self) -> Path:
        """What setns(2) takes."""
        ...


class PodNetwork(Protocol):
    """Gives each pod a network namespace of its own."""

    async def attach(self, pod_uid: str) -> PodLink:
        """A namespace that the node reaches, and that reaches the node."""
        ...

    async def release(self, pod_uid: str) -> None:
        """The pod's processes have ended; a pod that was never attached is no error."""
        ...


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What an image's configuration says."""

    entrypoint: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: int = 0
    group: int = 0
    working_dir: str = "/"


class Images(Protocol):
    """The images that this node has: programs of the machine, by the names that manifests call them."""

    def command(self, image: str) -> ImageSpec | None:
        """None: there is no such image."""
        ...


class Tokens(Protocol):
    """What kubelet's TokenRequest gives to a pod."""

    def __call__(self, pod: Json, audience: str) -> str:
        """A token of the pod's service account; `audience` is "" for the API server's own."""
        ...


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What the wiring knows of the one node."""

    address: str
    """InternalIP, which pods with hostNetwork have too."""
    pod_cidrs: tuple[str, ...]
    resolv_conf: str
    """A pod's /etc/resolv.conf; `{namespace}` is filled in."""
    api_host: str
    """KUBERNETES_SERVICE_HOST."""
    api_port: int = 443
    name: str = "lab"
    cluster_domain: str = "cluster.local"
    """Of the names of pods with a subdomain."""
