"""Debian packages the harness needs: installed when missing, and nothing is asked of apt when all are there."""

import os
import shutil

from cluster.kube.commands import run
from cluster.kube.errors import MachineUnfit

NEEDED = (
    "buildah",
    "gcc",
    "iproute2",
    "iptables",
    "libc6-dev",
    "libseccomp-dev",
    "mmdebstrap",
    "mount",
    "nftables",
    "pkg-config",
    "util-linux",
)
MINIMUM_GO = (1, 26)


def require_machine() -> None:
    """Raise a sentence when this is no machine for a cluster; otherwise leave it with all packages installed."""
    if os.geteuid() != 0:
        raise MachineUnfit(
            "building and starting a Kubernetes needs root (namespaces, mounts): "
            "run as root, or set HANDFAST_KUBECONFIG to a cluster you have"
        )
    install_missing()
    require_go()


def require_go() -> None:
    """Go is what the machine brings: a toolchain downloaded in passing would be one nobody chose."""
    if shutil.which("go") is None:
        raise MachineUnfit("Go 1.26 or newer is needed to build Kubernetes, and there is no `go` in PATH")
    version = run(["go", "env", "GOVERSION"]).strip().removeprefix("go")
    if tuple(int(part) for part in version.split(".")[:2]) < MINIMUM_GO:
        raise MachineUnfit(f"Go 1.26 or newer is needed to build Kubernetes; `go` in PATH is {version}")


def install_missing() -> None:
    """Install what dpkg does not list as installed."""
    missing = [name for name in NEEDED if not _installed(name)]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise MachineUnfit(f"these tools are needed and this is no Debian to install them: {', '.join(missing)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], env=environment, timeout_s=300, error=MachineUnfit)
    run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
        env=environment,
        timeout_s=600,
        error=MachineUnfit,
    )


def _installed(name: str) -> bool:
    try:
        return "install ok installed" in run(["dpkg-query", "-W", "-f=${Status}", name], error=MachineUnfit)
    except (MachineUnfit, FileNotFoundError):
        return False
