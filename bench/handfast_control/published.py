"""What others publish of their control planes' memory and processor, each with its source. Nothing here is measured.

The one rule: a figure stands here as its source has it. Where a project publishes none, that is what is said.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Published:
    """One figure, or that there is none."""

    what: str
    load: str
    """Under which it was measured, or is recommended for."""
    memory: str
    cpu: str
    source: str


PUBLISHED: Final = (
    Published(
        "istiod",
        "Istio 1.16.2: 1,000 services, 2,000 sidecars, 70,000 requests/s in the mesh",
        "1.5 GB",
        "1 vCPU",
        "istio.io/v1.16, Performance and Scalability",
    ),
    Published(
        "istiod",
        "Istio 1.19 on AKS: as many sidecars as one can serve, 25,000 of one service",
        "32.1 GB",
        "15",
        "learn.microsoft.com, aks/istio-scale, Azure CNI overlay, no churn",
    ),
    Published(
        "istiod",
        "Istio 1.12.0, minimal: a small application on six nodes, 2,000 requests/s",
        "597 MB",
        "5 s; over what time is not said",
        "linkerd.io, Benchmarking Linkerd and Istio: 2021 Redux",
    ),
    Published(
        "Linkerd's control plane, all of it",
        "Linkerd 2.11.1: the same application",
        "365 MB",
        "0.212 s; over what time is not said",
        "linkerd.io, Benchmarking Linkerd and Istio: 2021 Redux",
    ),
    Published(
        "Linkerd's destination, identity, proxy-injector",
        "what the chart asks for and allows in HA, each of three replicas; nothing is published by number of pods",
        "50, 10, 50 MiB asked; 250 MiB at most",
        "0.1 each asked",
        "linkerd/linkerd2, charts/linkerd-control-plane/values-ha.yaml",
    ),
    Published(
        "Linkerd's proxy-injector",
        "2.12.2 with more than 3,000 pods, as a user reports",
        "killed for want of memory",
        "-",
        "linkerd/linkerd2, issue 10386",
    ),
    Published(
        "cert-manager",
        "no figures: of memory that the controller's grows with the size of the Secrets that it made",
        "-",
        "-",
        "cert-manager.io, Scaling cert-manager; design/20221205-memory-management.md has them in screenshots",
    ),
)


def markdown() -> str:
    """A table with a heading."""
    titles = "|  | of what | memory | CPU | source |"
    head = ["#### Beside it: what others publish", "", titles, "|---|---|---|---|---|"]
    rows = [f"| {each.what} | {each.load} | {each.memory} | {each.cpu} | {each.source} |" for each in PUBLISHED]
    return "\n".join([*head, *rows]) + "\n"
