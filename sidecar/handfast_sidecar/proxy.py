"""The verb `proxy`: listens, serves until SIGTERM, and drains."""

import asyncio
import gc
import logging
import signal
from typing import Final

from handfast_sidecar import __version__
from handfast_sidecar.loop import poller
from handfast_sidecar.observe import logs
from handfast_sidecar.observe.own_user import OwnUser
from handfast_sidecar.parts import Parts
from handfast_sidecar.settings import Settings
from handfast_sidecar.traffic.listener import Listener
from handfast_sidecar.traffic.mesh_port import HANDSHAKES
from handfast_sidecar.traffic.sockets import listen_on_all
from handfast_sidecar.wellknown import (
    ADMIN_PORT,
    INBOUND_PORT,
    INTERCEPTION_NONE,
    INTERCEPTION_REDIRECT,
    MESH_PORT,
    OUTBOUND_PORT,
)

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 20_000
"""Connections of the application in each direction; more wait in the kernel's queue."""
DRAIN_S: Final = 5.0
"""Seconds that live connections get after SIGTERM. A native sidecar is stopped after its application, so only what the
application wrote last is still under way."""
DRAIN_POLL_S: Final = 0.05


class Proxy:
    """One sidecar, from its first listener to the end of its last connection."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._parts = Parts(settings)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain. Raises OSError when a port is taken."""
        parts, stop = self._parts, asyncio.Event()
        logs.lines.at_end = poller.current().at_end
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        await parts.admin.start(listen_on_all(ADMIN_PORT))
        self._listen()
        parts.inbound.rejudge()
        log.info(
            "sidecar ready",
            extra={
                "version": __version__,
                "identity": str(parts.identity.current.leaf.spiffe_id),
                "mode": parts.policy.policy.default.mode.value,
                "rule": parts.policy.policy.default.origin,
                "interception": INTERCEPTION_REDIRECT if self._settings.redirected else INTERCEPTION_NONE,
            },
        )
        # What is there now stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        tasks = [asyncio.create_task(each) for each in (parts.identity.run(), parts.directory.run(), parts.pool.run())]
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
            await parts.admin.close()
            await asyncio.sleep(0)
            logs.lines.at_end = None
            logs.lines.flush()

    def _listen(self) -> None:
        parts, redirected, upstreams = self._parts, self._settings.redirected, self._parts.upstreams
        # What is redirected and what is dialled at an upstream's port share their slots.
        outbound = [*(listen_on_all(OUTBOUND_PORT) if redirected else ()), *(upstreams.listen() if upstreams else ())]
        inbound = listen_on_all(INBOUND_PORT) if redirected else []
        dialled = upstreams.accepted if upstreams else parts.outbound.accepted
        for name, sockets, slots, owner, accepted in (
            ("outbound", outbound, MAX_CONNECTIONS, parts.outbound, dialled),
            ("inbound", inbound, MAX_CONNECTIONS, parts.inbound, parts.inbound.plaintext),
            ("mesh", listen_on_all(MESH_PORT), HANDSHAKES, parts.mesh, parts.mesh.accepted),
        ):
            if sockets:
                listener = Listener(name, sockets, slots, accepted)
                owner.released = listener.release
                parts.listeners.append(listener)

    async def _drain(self) -> None:
        """No new connections; those that run get DRAIN_S to end by themselves, and clients to hear of it.

        A tunnel that we closed first would take with it what its client has opened on it meanwhile, unread. So its
        client closes it, having heard; what it opened before that is refused as `shutting_down`, and goes elsewhere.
        """
        log.info("draining", extra={"connections": self._connections()})
        self._parts.inbound.draining = True
        for listener in self._parts.listeners:
            if listener.name == "mesh":
                listener.close()
        mesh = self._parts.mesh
        mesh.drain("shutting_down")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DRAIN_S
        while (self._connections() or mesh.registry) and loop.time() < deadline:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(DRAIN_POLL_S)

    def _close(self) -> None:
        parts = self._parts
        for listener in parts.listeners:
            listener.close()
        parts.outbound.stop("shutting_down")
        parts.inbound.stop("shutting_down")
        parts.pool.close("shutting_down")
        parts.mesh.close("shutting_down")
        log.info("stopped")

    def _connections(self) -> int:
        return len(self._parts.outbound.relays) + len(self._parts.inbound.relays)
