"""The verb `proxy`: builds the parts, ties them together, serves until SIGTERM, and drains. It only wires."""

import asyncio
import gc
import logging
import signal
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from handfast_sidecar import __version__
from handfast_sidecar.config.document import within
from handfast_sidecar.directory.cache_file import CacheFile
from handfast_sidecar.directory.client import Directory
from handfast_sidecar.directory.messages import PolicyUpdate
from handfast_sidecar.identity.reload import Identity, IdentityKeeper
from handfast_sidecar.identity.revocation import Revocations
from handfast_sidecar.identity.standing import REVOKED, Standing
from handfast_sidecar.loop import poller
from handfast_sidecar.observe import logs, table
from handfast_sidecar.observe.admin import AdminServer
from handfast_sidecar.observe.evidence import report
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.observe.own_user import OwnUser
from handfast_sidecar.observe.process import serve_process
from handfast_sidecar.observe.unanswered import Unanswered
from handfast_sidecar.policy.in_force import PolicyInForce
from handfast_sidecar.policy.limiter import HandshakeLimit
from handfast_sidecar.settings import Settings
from handfast_sidecar.traffic.inbound import Inbound
from handfast_sidecar.traffic.listener import Listener
from handfast_sidecar.traffic.mesh_port import HANDSHAKES, MeshPort
from handfast_sidecar.traffic.outbound import Outbound
from handfast_sidecar.traffic.plain import foreign_issuers
from handfast_sidecar.traffic.probes import ProbeRunner
from handfast_sidecar.traffic.sockets import LOOPBACK, listen_on_all
from handfast_sidecar.traffic.telemetry import Telemetry
from handfast_sidecar.tunnel.pool import TunnelPool
from handfast_sidecar.tunnel.resting import Issuers, Resting, needed
from handfast_sidecar.wellknown import (
    ADMIN_PORT,
    INBOUND_PORT,
    INTERCEPTION_NONE,
    INTERCEPTION_REDIRECT,
    MESH_PORT,
    OUTBOUND_PORT,
)

if TYPE_CHECKING:
    from handfast_sidecar.traffic.explicit import Upstreams

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 20_000
"""Connections of the application in each direction; more wait in the kernel's queue."""
DRAIN_S: Final = 5.0
"""Seconds that live connections get after SIGTERM. A native sidecar is stopped after its application, so only what the
application wrote last is still under way."""
DRAIN_POLL_S: Final = 0.05


class Proxy:
    """The parts of one sidecar."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = Registry()
        serve_process(self._registry, "sidecar")
        self._identity = IdentityKeeper(
            settings.identity_path, self._registry, cipher_suites=settings.cipher_suites, pod_uid=settings.pod_uid
        )
        first = self._identity.load_first()
        config = first.material.config
        self._trust_domain = config.trust_domain
        self._policy = PolicyInForce(config.policy, config.revision)
        self._telemetry = Telemetry(self._registry, lambda: self._identity.current.leaf.spiffe_id)
        self._standing = Standing(lambda: self._identity.current)
        self._standing.offer(config.revoked)
        table.REVOCATIONS.of(self._registry).set_function(lambda: len(self._standing.revoked.entries))
        self._directory = Directory(
            self._identity,
            lambda: report(
                self._identity.current.material, self._policy.revision, self._telemetry.edges.edges, self._issuers()
            ),
            self._policy_update,
            self._registry,
            standing=self._standing,
            on_revoked=lambda revoked: self._offer_revoked(revoked, "directory"),
            cache=CacheFile(settings.cache_path, first.leaf.pod_uid),
        )
        self._resting = Resting(self._issuers, self._directory.report_soon)
        self._pool = TunnelPool(
            lambda: self._identity.current,
            opened=self._telemetry.tunnel_opened("client", self._resting.touched),
            closed=self._telemetry.tunnel_closed("client", self._resting.touched),
            failed=self._telemetry.handshake_failed("client"),
            standing=self._standing,
        )
        self._outbound = Outbound(
            self._directory,
            self._pool,
            self._in_cluster,
            self._telemetry,
            self._policy,
        )
        self._upstreams = self._declared_upstreams()
        self._inbound = _kind_of_inbound(settings)(
            self._policy,
            settings.pod_ips,
            lambda: self._identity.current.material.config.trust_domain,
            self._telemetry,
            lambda: self._identity.current,
            standing=self._standing,
            proxy_protocol_ports=settings.proxy_protocol_ports,
        )
        self._inbound.unanswered = Unanswered(redirected=settings.redirected).refused
        self._mesh = MeshPort(
            lambda: self._identity.current,
            self._inbound.stream,
            opened=self._telemetry.tunnel_opened("server", self._resting.touched),
            closed=self._telemetry.tunnel_closed("server", self._resting.touched),
            failed=self._telemetry.handshake_failed("server"),
            limit=HandshakeLimit(self._policy),
            standing=self._standing,
        )
        self._admin = AdminServer(
            self._registry,
            ready=self._not_ready,
            probe=ProbeRunner(
                settings.probes,
                settings.first_ip,
                *(() if settings.redirected else LOOPBACK),
                proxy_protocol_ports=settings.proxy_protocol_ports,
            ),
            debug={"policy": self._debug_policy, "tunnels": self._debug_tunnels},
        )
        self._listeners: list[Listener] = []
        self._identity.subscribe(self._identity_changed)

    def _declared_upstreams(self) -> "Upstreams | None":
        """Most pods declare none, so what serves them is loaded only here."""
        if not self._settings.upstreams:
            return None
        from handfast_sidecar.traffic.explicit import Upstreams  # noqa: PLC0415

        return Upstreams(
            self._settings.upstreams, self._outbound, lambda: self._identity.current, standing=self._standing
        )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain. Raises OSError when a port is taken."""
        stop = asyncio.Event()
        logs.lines.at_end = poller.current().at_end
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        await self._admin.start(listen_on_all(ADMIN_PORT))
        self._listen()
        self._rejudge()
        log.info(
            "sidecar ready",
            extra={
                "version": __version__,
                "identity": str(self._identity.current.leaf.spiffe_id),
                "mode": self._policy.policy.default.mode.value,
                "rule": self._policy.policy.default.origin,
                "interception": INTERCEPTION_REDIRECT if self._settings.redirected else INTERCEPTION_NONE,
            },
        )
        # What is there now stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        tasks = [asyncio.create_task(each) for each in (self._identity.run(), self._directory.run(), self._pool.run())]
        # Its end is no reason to end.
        own_user = asyncio.create_task(OwnUser().run())
        stopped = asyncio.create_task(stop.wait())
        try:
            done, _pending = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()
            await self._drain()
        finally:
            for task in (*tasks, stopped, own_user):
                task.cancel()
            await asyncio.gather(*tasks, stopped, own_user, return_exceptions=True)
            self._close()
            await self._admin.close()
            await asyncio.sleep(0)
            logs.lines.at_end = None
            logs.lines.flush()

    def _listen(self) -> None:
        redirected, upstreams = self._settings.redirected, self._upstreams
        # What is redirected and what is dialled at an upstream's port share their slots.
        outbound = [*(listen_on_all(OUTBOUND_PORT) if redirected else ()), *(upstreams.listen() if upstreams else ())]
        inbound = listen_on_all(INBOUND_PORT) if redirected else []
        dialled = upstreams.accepted if upstreams else self._outbound.accepted
        for name, sockets, slots, owner, accepted in (
            ("outbound", outbound, MAX_CONNECTIONS, self._outbound, dialled),
            ("inbound", inbound, MAX_CONNECTIONS, self._inbound, self._inbound.plaintext),
            ("mesh", listen_on_all(MESH_PORT), HANDSHAKES, self._mesh, self._mesh.accepted),
        ):
            if sockets:
                listener = Listener(name, sockets, slots, accepted)
                owner.released = listener.release
                self._listeners.append(listener)

    async def _drain(self) -> None:
        """No new connections; those that run get DRAIN_S to end by themselves, and clients to hear of it.

        A tunnel that we closed first would take with it what its client has opened on it meanwhile, unread. So its
        client closes it, having heard; what it opened before that is refused as `shutting_down`, and goes elsewhere.
        """
        log.info("draining", extra={"connections": self._connections()})
        self._inbound.draining = True
        for listener in self._listeners:
            if listener.name == "mesh":
                listener.close()
        self._mesh.drain("shutting_down")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DRAIN_S
        while (self._connections() or self._mesh.registry) and loop.time() < deadline:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(DRAIN_POLL_S)

    def _close(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._outbound.stop("shutting_down")
        self._inbound.stop("shutting_down")
        self._pool.close("shutting_down")
        self._mesh.close("shutting_down")
        log.info("stopped")

    def _in_cluster(self, address: str) -> bool:
        """Ranges as the Secret and, once it spoke, the directory know them: either is enough to be careful."""
        config = self._identity.current.material.config
        return config.in_cluster(address) or within(self._directory.cluster_ranges, address)

    def _connections(self) -> int:
        return len(self._outbound.relays) + len(self._inbound.relays)

    def _issuers(self) -> Issuers:
        """Whose signatures this sidecar needs: as of now."""
        tunnels = [each.footing.issuers for each in (*self._pool, *self._mesh.registry)]
        upstreams = foreign_issuers(self._outbound.relays) if self._upstreams else ()
        return needed(self._identity.current.leaf.issuer, [*tunnels, *self._inbound.issuers(), *upstreams])

    def _look_again(self) -> None:
        """Who was let in, held against what is trusted now."""
        self._pool.look_again()
        self._mesh.look_again()
        self._inbound.look_again()
        self._outbound.look_again(self._standing)
        self._directory.look_again()

    def _offer_revoked(self, revoked: Revocations, source: str) -> None:
        if not self._standing.offer(revoked):
            return
        log.info(
            "what is revoked changed",
            extra={"entries": len(revoked.entries), "revision": revoked.revision, "source": source},
        )
        own = self._standing.own_revocation()
        if own is not None:
            log.error("this pod is revoked: its peers refuse it", extra={"reason": REVOKED, "detail": str(own)})
        self._look_again()

    def _identity_changed(self, identity: Identity) -> None:
        self._offer_revoked(identity.material.config.revoked, "config.json")
        self._look_again()
        self._pool.identity_changed()
        self._mesh.identity_changed()
        self._resting.touched()
        config = identity.material.config
        if config.trust_domain != self._trust_domain:
            # Who belongs to it is judged by it.
            self._trust_domain = config.trust_domain
            self._rejudge()
        self._offer(config.revision, config.policy, "config.json")

    def _policy_update(self, update: PolicyUpdate) -> None:
        self._offer(update.revision, update.policy, "directory", update.over)

    def _offer(self, revision: int, policy: Any, source: str, over: int = 0) -> None:
        if self._policy.offer(policy, revision, over):
            self._outbound.rejudge()
            rule = self._policy.policy.default
            log.info(
                "policy changed",
                extra={"mode": rule.mode.value, "rule": rule.origin, "revision": revision, "source": source},
            )
            self._rejudge()

    def _rejudge(self) -> None:
        """What is carried and on its way, by what holds now."""
        self._inbound.rejudge()

    def _not_ready(self) -> list[str]:
        """Why kubelet should send no traffic here. The directory may be away: its last answers and config.json hold."""
        trouble = self._identity.trouble()
        if trouble:
            return [trouble]
        own = self._standing.own_revocation()
        if own is not None:
            return [f"{own}; peers refuse this pod: handfast revoke --list shows who said so"]
        return [] if self._listeners else ["not listening yet"]

    def _debug_policy(self) -> Mapping[str, Any]:
        return {"revision": self._policy.revision, "policy": self._policy.policy.to_json()}

    def _debug_tunnels(self) -> list[Mapping[str, Any]]:
        return [
            {
                "peer": str(each.peer.spiffe_id),
                "address": each.peer_address,
                "streams": each.open_streams,
                "group": each.group,
            }
            for each in self._mesh.registry
        ]


def _kind_of_inbound(settings: Settings) -> Callable[..., Inbound]:
    """Explicit mode has its own, which most pods need not load."""
    if settings.redirected:
        return Inbound
    from handfast_sidecar.traffic.loopback import LoopbackInbound  # noqa: PLC0415

    return partial(LoopbackInbound, settings.loopback_ports)
