"""A real Kubernetes for tests: one that we start, or the one that a person names."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from cluster.cluster import Cluster
from cluster.kube import images, lifecycle
from cluster.kube.errors import ClusterError, MachineUnfit
from cluster.kube.images import Images
from cluster.kube.places import KUBECONFIG, STATE
from cluster.kube.release import HelmRelease
from cluster.kube.sandbox import Sandbox
from cluster.kube.upgrade import HelmUpgrade
from cluster.kube.variant import DEFAULT, Variant
from cluster.release import Release

IMAGE_VARIABLES = {
    "operator": "HANDFAST_OPERATOR_IMAGE",
    "sidecar": "HANDFAST_SIDECAR_IMAGE",
    "apps": "HANDFAST_APPS_IMAGE",
}


class Kubernetes(Cluster):
    """A cluster whose Handfast comes by Helm, from images of this work tree."""

    def __init__(self, kubeconfig: Path, built: Images, ours: Sandbox | None) -> None:
        super().__init__(kubeconfig, built.apps, ours)
        self._images, self._ours = built, ours

    def release(self) -> Release:
        """By Helm."""
        return HelmRelease(self, self._images)

    def upgrade(self) -> HelmUpgrade:
        """From the release before this one; its images are built and loaded for it. ClusterError: it is not ours."""
        if self._ours is None:
            raise ClusterError("an upgrade needs images of the previous release, so a cluster that our harness started")
        previous = images.build_previous(self._images.apps)
        images.load(self._ours, previous)
        return HelmUpgrade(self, previous, self._images)

    def component_logs(self) -> Path | None:
        """Of the control plane, kubelet and the rest, when we started them."""
        return STATE / "logs" if self._node else None


@contextmanager
def started(variant: Variant = DEFAULT) -> Iterator[Kubernetes]:
    """Build and start one; it ends with the block."""
    ours = lifecycle.up(variant, keep=False)
    try:
        yield Kubernetes(KUBECONFIG, lifecycle.load(ours), ours)
    finally:
        ours.end()


def existing(kubeconfig: Path, environment: Mapping[str, str]) -> Kubernetes:
    """The one that HANDFAST_KUBECONFIG names; its images come from variables, or from our own `cluster-load`."""
    ours = Sandbox.running() if kubeconfig.resolve() == KUBECONFIG else None
    loaded = lifecycle.loaded() if ours else None
    named = {part: environment.get(variable) for part, variable in IMAGE_VARIABLES.items()}
    known = {part: named[part] or (getattr(loaded, part) if loaded else "") for part in IMAGE_VARIABLES}
    missing = [IMAGE_VARIABLES[part] for part, reference in known.items() if not reference]
    if missing:
        raise MachineUnfit(
            f"a cluster that exists must be told which images it can pull: set {', '.join(missing)}, "
            "or on our own cluster run `make cluster-load`"
        )
    return Kubernetes(kubeconfig, Images(**cast("dict[str, str]", known)), ours)


def configured(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The cluster that a person wants to be used."""
    named = environment.get("HANDFAST_KUBECONFIG")
    return Path(named) if named else None
