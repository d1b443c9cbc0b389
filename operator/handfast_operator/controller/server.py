"""The verb `controller`: waits for the Lease, then lets the controller write for as long as it holds it.

Reflectors run before it leads, so that a standby takes over in the time of one Lease.
"""

import asyncio

from handfast_operator import metrics
from handfast_operator.cluster.client import ApiClient
from handfast_operator.controller.controller import Controller
from handfast_operator.controller.lease import Election
from handfast_operator.controller.stores import Stores
from handfast_operator.health import Health, serve_health
from handfast_operator.settings import Settings
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.observe.process import serve_process
from handfast_sidecar.wellknown import CONTROLLER_HEALTH_PORT


async def run(settings: Settings) -> None:
    """Wait for the Lease, then control until cancelled; a lost Lease ends the process."""
    registry = Registry()
    leading = metrics.LEADING.of(registry)
    serve_process(registry, "controller")
    async with ApiClient.connect() as client:
        stores = Stores(client, settings.trust_domain)
        election = Election(client, settings.namespace, settings.pod_name)
        controller = Controller(client, settings, stores, registry)

        def not_ready() -> list[str]:
            """Also until pods that opt in can be created: "installed" must mean it."""
            reasons = stores.not_ready()
            if not (controller.established or election.standby):
                reasons.append("the webhook's certificate and caBundle are not written yet")
            return reasons

        health = Health(registry, not_ready, client=client, follows=stores.reflectors)
        async with serve_health(health, CONTROLLER_HEALTH_PORT), asyncio.TaskGroup() as group:
            for reflector in stores.reflectors:
                group.create_task(reflector.run())
            await stores.synced()
            await election.acquire()
            leading.set(1)
            try:
                async with asyncio.TaskGroup() as leadership:
                    leadership.create_task(election.keep())
                    leadership.create_task(controller.run())
            finally:
                # Nothing writes any more, so the next one may begin.
                leading.set(0)
                await election.release()
