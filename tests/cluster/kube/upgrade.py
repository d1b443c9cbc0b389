"""From the release before this one to this one, and back, by Helm: the commands of docs/upgrade.md."""

from cluster.kube.client import Kubectl
from cluster.kube.images import PREVIOUS, Images
from cluster.kube.release import CHART, RELEASE, HelmRelease, image_settings
from cluster.release import DEPLOYMENTS, INSTALL_S, NAMESPACE

RESOURCES = ("accessgrants", "accessrequests", "clustermtlspolicies", "mtlspolicies", "trustdomains")


class HelmUpgrade:
    """One release that is of either version."""

    def __init__(self, kubectl: Kubectl, previous: Images, ours: Images) -> None:
        self._kubectl = kubectl
        self._previous, self._ours = previous, ours
        self.sidecars = (previous.sidecar, ours.sidecar)
        """Images of the previous sidecar and of ours."""

    def install_previous(self) -> None:
        """As on a cluster that has never seen Handfast: what there is of it goes before, custom resources too."""
        HelmRelease(self._kubectl, self._ours).uninstall()
        names = [f"{each}.handfast.dev" for each in RESOURCES]
        self._kubectl("delete", "customresourcedefinition", *names, "--ignore-not-found")
        self._kubectl.delete("namespace", NAMESPACE)
        [chart] = PREVIOUS.glob("*.tgz")
        self._helm("install", RELEASE, str(chart), "--create-namespace", *_images(self._previous))

    def upgrade(self) -> None:
        """To this work tree."""
        self._helm(
            "upgrade", RELEASE, str(CHART), "--reset-then-reuse-values", "--take-ownership", *_images(self._ours)
        )

    def roll_back(self) -> None:
        """To what `install_previous` installed."""
        self._helm("rollback", RELEASE, "1")

    def _helm(self, *words: str) -> None:
        where = (f"--namespace={NAMESPACE}", "--wait", f"--timeout={INSTALL_S}s")
        self._kubectl.helm(*words, *where, timeout_s=INSTALL_S + 60)
        release = HelmRelease(self._kubectl, self._ours)
        for each in DEPLOYMENTS:
            self._kubectl("rollout", "status", f"deployment/{each}", f"--namespace={NAMESPACE}", timeout_s=INSTALL_S)
        release.wait_working()


def _images(images: Images) -> list[str]:
    return [f"--set={each}" for each in image_settings(images)]
