"""Handfast as Helm installs it: the chart of this work tree, with images made from it."""

from collections.abc import Sequence

from cluster.kube.build import locked
from cluster.kube.client import Kubectl
from cluster.kube.errors import ClusterError, PartDied
from cluster.kube.images import Images
from cluster.kube.places import REPOSITORY, cache
from cluster.release import INSTALL_S, NAMESPACE, Release

RELEASE = "handfast"
CHART = REPOSITORY / "charts" / "handfast"


class HelmRelease(Release):
    """Installed by Helm."""

    def __init__(self, kubectl: Kubectl, images: Images) -> None:
        super().__init__(kubectl)
        self.images = images

    def install(self, *settings: str) -> None:
        """Install or upgrade until it works; `settings`: further `key=value` of the chart.

        One at a time: Helm refuses an upgrade while another one is in progress.
        """
        with locked(cache() / "release.lock"):
            self._install(settings)

    def _install(self, settings: Sequence[str]) -> None:
        chosen = (f"--set={setting}" for setting in (*image_settings(self.images), *settings))
        where = [f"--namespace={NAMESPACE}", "--create-namespace", "--wait", f"--timeout={INSTALL_S}s"]
        # A cluster that stays may have the custom resources of 0.1.0, or what somebody has tried by hand.
        anyway = ["--take-ownership", "--force-conflicts"]
        words = ["upgrade", RELEASE, str(CHART), "--install", *where, *anyway, *chosen]
        try:
            self._kubectl.helm(*words, timeout_s=INSTALL_S + 60)
        except ClusterError as error:
            raise PartDied(f"{error}\n{self.last_words()}") from error
        self.wait_working()

    def installed(self) -> bool:
        """Whether Helm knows the release, in whatever state."""
        return bool(self._kubectl.helm("list", f"--namespace={NAMESPACE}", "--short").split())

    def uninstall(self) -> None:
        """As a user would; the namespace stays, as Helm leaves it."""
        self._kubectl.helm("uninstall", RELEASE, f"--namespace={NAMESPACE}", "--ignore-not-found", "--wait")


def image_settings(images: Images) -> list[str]:
    """The chart's values that name our images."""
    found = []
    for part, reference in (("operator", images.operator), ("sidecar", images.sidecar)):
        repository, _, tag = reference.rpartition(":")
        found += [f"images.{part}.repository={repository}", f"images.{part}.tag={tag}"]
    return found
