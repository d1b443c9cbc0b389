"""The webhook: the API server's reviews over TLS.

The one rule: an error of ours is an answer of 500, and so, by `failurePolicy: Fail`, a no.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from handfast_operator.admission.bounds import HANDSHAKE_TIMEOUT_S, KEEPALIVE_S, LINGERING_S
from handfast_operator.admission.certificate import ServingCertificate
from handfast_operator.admission.containers import InjectionOptions
from handfast_operator.admission.final_policies import FinalPolicies
from handfast_operator.admission.namespaces import NamespaceLabels
from handfast_operator.admission.webhook import Webhook
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import NAMESPACES
from handfast_operator.cluster.objects import Namespace, parse_namespace
from handfast_operator.cluster.reflector import Reflector
from handfast_operator.cluster.store import Store
from handfast_operator.health import Health, serve_health, waiting_for
from handfast_operator.settings import Settings
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.observe.process import serve_process
from handfast_sidecar.wellknown import WEBHOOK_HEALTH_PORT, WEBHOOK_PORT

log = logging.getLogger(__name__)

LINGER_S: Final = 3.0
"""Seconds of service after SIGTERM: until then the API server may still choose this replica."""
CLOSE_S: Final = 5.0
"""Seconds for the reviews in flight after that."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A webhook that accepts reviews."""

    port: int
    handlers: web.Server
    """Its connections."""


async def run(settings: Settings) -> None:
    """Serve until cancelled."""
    registry = Registry()
    serve_process(registry, "webhook")
    certificate = ServingCertificate(settings.tls_dir, registry)
    options = InjectionOptions.of(settings)
    async with ApiClient.connect() as client, asyncio.TaskGroup() as group:
        store: Store[Namespace] = Store()
        reflector = Reflector(client, NAMESPACES, store, parse_namespace)
        health = Health(registry, lambda: waiting_for(namespaces=store), client=client, follows=[reflector])
        webhook = Webhook(options, NamespaceLabels(client, store), registry, FinalPolicies(client))
        async with serve_health(health, WEBHOOK_HEALTH_PORT):
            tasks = [group.create_task(reflector.run()), group.create_task(certificate.run())]
            try:
                async with serving(webhook, certificate, None, WEBHOOK_PORT):
                    log.info("webhook serves", extra={"port": WEBHOOK_PORT})
                    try:
                        await asyncio.Event().wait()
                    finally:
                        webhook.draining = True
                        await asyncio.sleep(LINGER_S)
            finally:
                for task in tasks:
                    task.cancel()


@asynccontextmanager
async def serving(
    webhook: Webhook, certificate: ServingCertificate, host: str | None, port: int
) -> AsyncIterator[Serving]:
    """Accept reviews while the context lasts; those in flight at its end are answered."""
    runner = web.AppRunner(
        webhook.application(),
        access_log=None,
        keepalive_timeout=KEEPALIVE_S,
        lingering_time=LINGERING_S,
        shutdown_timeout=CLOSE_S,
    )
    await runner.setup()
    handlers = runner.server
    if handlers is None:
        raise RuntimeError("aiohttp made no server")
    server = await asyncio.get_running_loop().create_server(
        handlers, host, port, ssl=certificate.context, ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S, backlog=1024
    )
    sweeper = asyncio.create_task(webhook.bounds.run(handlers))
    try:
        yield Serving(server.sockets[0].getsockname()[1], handlers)
    finally:
        sweeper.cancel()
        server.close()
        await runner.cleanup()
