"""The tunnels that a server holds, by name, so that a client may renew one of its own."""

import logging
from collections import Counter
from collections.abc import Iterator

from handfast_sidecar.identity.leaf import Leaf
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.tunnel.connection import Tunnel
from handfast_sidecar.tunnel.hello import ControlLine, TunnelHello

log = logging.getLogger(__name__)


class TunnelRegistry:
    """Who is connected to us."""

    def __init__(self) -> None:
        self._tunnels: set[Tunnel] = set()
        self._by_id: dict[str, Tunnel] = {}
        self._by_peer: Counter[tuple[SpiffeId, str]] = Counter()

    def __len__(self) -> int:
        return len(self._tunnels)

    def __iter__(self) -> Iterator[Tunnel]:
        return iter(list(self._tunnels))

    def of_peer(self, peer: Leaf) -> int:
        """How many tunnels a pod has to us."""
        return self._by_peer[_pod(peer)]

    def add(self, tunnel: Tunnel) -> None:
        self._tunnels.add(tunnel)
        self._by_peer[_pod(tunnel.peer)] += 1

    def remove(self, tunnel: Tunnel) -> None:
        if tunnel in self._tunnels:
            self._tunnels.discard(tunnel)
            self._by_peer -= Counter((_pod(tunnel.peer),))
        if self._by_id.get(tunnel.id) is tunnel:
            del self._by_id[tunnel.id]

    def said(self, tunnel: Tunnel, line: ControlLine) -> None:
        """A client introduced itself; one that proves to be the old one's pod takes over from it."""
        if not isinstance(line, TunnelHello):
            return
        self._by_id.setdefault(line.tunnel, tunnel)
        if not line.renews:
            return
        old = self._by_id.get(line.renews)
        if old is None or old is tunnel:
            return
        if _pod(old.peer) == _pod(tunnel.peer):
            tunnel.succeed(old)
        else:
            log.warning(
                "renewal refused: the tunnel belongs to another pod; it ends with its own certificates",
                extra={"peer": str(tunnel.peer.spiffe_id), "owner": str(old.peer.spiffe_id)},
            )


def _pod(peer: Leaf) -> tuple[SpiffeId, str]:
    return peer.spiffe_id, peer.pod_uid
