"""Before there is an identity: the verb `proxy` says in `/readyz` what is wrong with the pod's Secret, and waits.

Ending would be worse: kubelet starts a container that ended again after up to five minutes, while the operator repairs
a Secret in seconds and kubelet projects it in at most 100. No port but the admin port is open meanwhile: nothing of the
pod's traffic passes.
"""

import asyncio
import logging
import signal
from typing import Final

from handfast_sidecar.errors import BadCertificate, BadConfig
from handfast_sidecar.identity.contexts import build_contexts
from handfast_sidecar.identity.material import read_material
from handfast_sidecar.observe import logs, table
from handfast_sidecar.observe.admin import AdminServer
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.observe.process import serve_process
from handfast_sidecar.settings import Settings
from handfast_sidecar.traffic.sockets import listen_on_all
from handfast_sidecar.wellknown import ADMIN_PORT

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""Seconds between looks at the Secret."""


async def until_usable(settings: Settings, error: BadCertificate | BadConfig, port: int = ADMIN_PORT) -> bool:
    """Wait until the Secret holds an identity; False when we were asked to end before. Raises OSError."""
    waiting = _Waiting(error)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    admin = AdminServer(waiting.registry, ready=lambda: [waiting.sentence])
    await admin.start(listen_on_all(port))
    try:
        # At least one wait: whatever our caller found wrong, it does not ask us again at once.
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    await stop.wait()
            except TimeoutError:
                if waiting.look(settings):
                    continue
                return True
            return False
    finally:
        await admin.close()
        await asyncio.sleep(0)  # uvloop lets go of the port in its next turn
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(name)
        logs.lines.flush()


class _Waiting:
    """What was wrong at the last look, told once for each thing that is."""

    def __init__(self, error: BadCertificate | BadConfig) -> None:
        self.registry = Registry()
        self._failures = table.IDENTITY_FAILURES.of(self.registry)
        table.IDENTITY_REFUSED.of(self.registry).set(1)
        serve_process(self.registry, "sidecar")
        self.sentence = ""
        self._tell(error)

    def look(self, settings: Settings) -> bool:
        """Whether it is still no identity."""
        try:
            material = read_material(settings.identity_path)
            material.check_pod(settings.pod_uid)
            build_contexts(material, settings.cipher_suites)
        except (BadCertificate, BadConfig) as error:
            self._tell(error)
            return True
        return False

    def _tell(self, error: BadCertificate | BadConfig) -> None:
        sentence = f"the pod's Secret holds no identity yet, waiting for the operator to repair it: {error}"
        if sentence == self.sentence:
            return
        self.sentence = sentence
        reason = error.reason if isinstance(error, BadCertificate) else "bad_config"
        self._failures.labels(reason).inc()
        log.error("no identity yet", extra={"reason": reason, "detail": str(error)})
