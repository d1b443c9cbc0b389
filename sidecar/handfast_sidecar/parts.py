"""The parts of one sidecar, built and tied together. It only wires."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from handfast_sidecar.changes import Audience, Changes
from handfast_sidecar.config.document import within
from handfast_sidecar.directory.cache_file import CacheFile
from handfast_sidecar.directory.client import Directory
from handfast_sidecar.identity.reload import IdentityKeeper
from handfast_sidecar.identity.standing import Standing
from handfast_sidecar.observe import table
from handfast_sidecar.observe.admin import AdminServer
from handfast_sidecar.observe.evidence import report
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.observe.process import serve_process
from handfast_sidecar.observe.unanswered import Unanswered
from handfast_sidecar.policy.in_force import PolicyInForce
from handfast_sidecar.policy.limiter import HandshakeLimit
from handfast_sidecar.settings import Settings
from handfast_sidecar.traffic.inbound import Inbound
from handfast_sidecar.traffic.mesh_port import MeshPort
from handfast_sidecar.traffic.outbound import Outbound
from handfast_sidecar.traffic.plain import foreign_issuers
from handfast_sidecar.traffic.probes import ProbeRunner
from handfast_sidecar.traffic.sockets import LOOPBACK
from handfast_sidecar.traffic.telemetry import Telemetry
from handfast_sidecar.tunnel.pool import TunnelPool
from handfast_sidecar.tunnel.resting import Issuers, Resting, needed

if TYPE_CHECKING:
    from handfast_sidecar.traffic.explicit import Upstreams
    from handfast_sidecar.traffic.listener import Listener


class Parts:
    """Everything but the listeners, which their owner adds."""

    def __init__(self, settings: Settings) -> None:
        """Raises BadCertificate or BadConfig where there is no identity to begin with."""
        self._settings = settings
        self.registry = Registry()
        serve_process(self.registry, "sidecar")
        self.identity = IdentityKeeper(
            settings.identity_path, self.registry, cipher_suites=settings.cipher_suites, pod_uid=settings.pod_uid
        )
        first = self.identity.load_first()
        config = first.material.config
        self.policy = PolicyInForce(config.policy, config.revision)
        self.telemetry = Telemetry(self.registry, lambda: self.identity.current.leaf.spiffe_id)
        self.standing = Standing(lambda: self.identity.current)
        self.standing.offer(config.revoked)
        changes = Changes(self.standing, self.policy, config.trust_domain)
        table.REVOCATIONS.of(self.registry).set_function(lambda: len(self.standing.revoked.entries))
        self.directory = Directory(
            self.identity,
            lambda: report(
                self.identity.current.material, self.policy.revision, self.telemetry.edges.edges, self._issuers()
            ),
            changes.policy,
            self.registry,
            standing=self.standing,
            on_revoked=changes.revoked,
            make_room=lambda: self.telemetry.edges.make_room(time.time()),
            cache=CacheFile(settings.cache_path, first.leaf.pod_uid),
        )
        self.resting = Resting(self._issuers, self.directory.report_soon)
        self.pool = TunnelPool(
            lambda: self.identity.current,
            opened=self.telemetry.tunnel_opened("client", self.resting.touched),
            closed=self.telemetry.tunnel_closed("client", self.resting.touched),
            failed=self.telemetry.handshake_failed("client"),
            standing=self.standing,
        )
        self.outbound = Outbound(self.directory, self.pool, self._in_cluster, self.telemetry, self.policy)
        self.upstreams = self._declared_upstreams()
        self.inbound = _kind_of_inbound(settings)(
            self.policy,
            settings.pod_ips,
            lambda: self.identity.current.material.config.trust_domain,
            self.telemetry,
            lambda: self.identity.current,
            standing=self.standing,
            proxy_protocol_ports=settings.proxy_protocol_ports,
        )
        self.inbound.unanswered = Unanswered(redirected=settings.redirected).refused
        self.mesh = MeshPort(
            lambda: self.identity.current,
            self.inbound.stream,
            opened=self.telemetry.tunnel_opened("server", self.resting.touched),
            closed=self.telemetry.tunnel_closed("server", self.resting.touched),
            failed=self.telemetry.handshake_failed("server"),
            limit=HandshakeLimit(self.policy),
            standing=self.standing,
        )
        self.admin = AdminServer(
            self.registry,
            ready=self._not_ready,
            probe=ProbeRunner(
                settings.probes,
                settings.first_ip,
                *(() if settings.redirected else LOOPBACK),
                proxy_protocol_ports=settings.proxy_protocol_ports,
            ),
            debug={"policy": self._debug_policy, "tunnels": self._debug_tunnels},
        )
        self.listeners: list[Listener] = []
        changes.tell(self._audience(), self.identity)

    def _declared_upstreams(self) -> "Upstreams | None":
        """Most pods declare none, so what serves them is loaded only here."""
        if not self._settings.upstreams:
            return None
        from handfast_sidecar.traffic.explicit import Upstreams  # noqa: PLC0415

        return Upstreams(self._settings.upstreams, self.outbound, lambda: self.identity.current, standing=self.standing)

    def _audience(self) -> Audience:
        return Audience(
            trust=(
                self.pool.look_again,
                self.mesh.look_again,
                self.inbound.look_again,
                lambda: self.outbound.look_again(self.standing),
                self.directory.look_again,
            ),
            identity=(self.pool.identity_changed, self.mesh.identity_changed, self.resting.touched),
            outbound=(self.outbound.rejudge,),
            inbound=(self.inbound.rejudge,),
        )

    def _in_cluster(self, address: str) -> bool:
        """Ranges as the Secret and, once it spoke, the directory know them: either is enough to be careful."""
        config = self.identity.current.material.config
        return config.in_cluster(address) or within(self.directory.cluster_ranges, address)

    def _issuers(self) -> Issuers:
        """Whose signatures this sidecar needs: as of now."""
        tunnels = [each.footing.issuers for each in (*self.pool, *self.mesh.registry)]
        upstreams = foreign_issuers(self.outbound.relays) if self.upstreams else ()
        return needed(self.identity.current.leaf.issuer, [*tunnels, *self.inbound.issuers(), *upstreams])

    def _not_ready(self) -> list[str]:
        """Why kubelet should send no traffic here. The directory may be away: its last answers and config.json hold."""
        trouble = self.identity.trouble()
        if trouble:
            return [trouble]
        own = self.standing.own_revocation()
        if own is not None:
            return [f"{own}; peers refuse this pod: handfast revoke --list shows who said so"]
        return [] if self.listeners else ["not listening yet"]

    def _debug_policy(self) -> Mapping[str, Any]:
        return {"revision": self.policy.revision, "policy": self.policy.policy.to_json()}

    def _debug_tunnels(self) -> list[Mapping[str, Any]]:
        return [
            {
                "peer": str(each.peer.spiffe_id),
                "address": each.peer_address,
                "streams": each.open_streams,
                "group": each.group,
            }
            for each in self.mesh.registry
        ]


def _kind_of_inbound(settings: Settings) -> Callable[..., Inbound]:
    """Explicit mode has its own, which most pods need not load."""
    if settings.redirected:
        return Inbound
    from handfast_sidecar.traffic.loopback import LoopbackInbound  # noqa: PLC0415

    return partial(LoopbackInbound, settings.loopback_ports)
