"""What is said when sidecar and directory have no version of their protocol in common. Pure, both sides."""

from handfast_sidecar.directory.messages import SPEAKS, Hello, Welcome
from handfast_sidecar.versions import Side, no_common

_RESTART = "restart its pod, so that it gets the sidecar of the operator's version"
_UPGRADE = "upgrade Handfast in the cluster, so that its directory is of the sidecar's version"


def no_version_in_common(peer: Hello | Welcome) -> str:
    """The sentence about a sidecar that said this hello, or a directory that said this welcome."""
    sidecar, directory = Side("the sidecar", SPEAKS, _RESTART), Side("the directory", SPEAKS, _UPGRADE)
    if isinstance(peer, Hello):
        sidecar = Side("the sidecar", peer.speaks, _RESTART, peer.version)
    else:
        directory = Side("the directory", peer.speaks, _UPGRADE, peer.version)
    return no_common("the directory's protocol", sidecar, directory)
