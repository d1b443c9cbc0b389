"""Whether another replica knows more than this one: asked of them when the API server has fallen silent.

The one rule: sidecars are sent away only to somebody. Where no replica hears of the API server it is away for all of
them, and so is every change; what was known then is the best there is.
"""

import asyncio
import logging
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

import aiohttp

from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.store import Store
from handfast_operator.settings import Settings
from handfast_sidecar.wellknown import DIRECTORY_ACCOUNT, DIRECTORY_HEALTH_PORT

log = logging.getLogger(__name__)

ASK_S: Final = 2.0
"""Seconds between two questions while this replica is stale, and for an answer."""


class Siblings:
    """The other replicas, as the API server named them when it last spoke."""

    def __init__(
        self,
        pods: Store[Pod],
        settings: Settings,
        fresh: Callable[[], bool],
        *,
        port: int = DIRECTORY_HEALTH_PORT,
        ask_s: float = ASK_S,
    ) -> None:
        """`fresh`: whether this replica has heard of the API server lately."""
        self._pods, self._settings, self._fresh = pods, settings, fresh
        self._port, self._ask_s = port, ask_s
        self.know_more = False
        """Whether one of them says that it is ready, and this one is not."""

    async def run(self) -> None:
        """Ask while there is reason to, until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._ask_s)) as session:
            while True:
                await asyncio.sleep(self._ask_s)
                known = not self._fresh() and any(
                    await asyncio.gather(*(self._ready(session, address) for address in self._addresses()))
                )
                if known != self.know_more:
                    log.warning(
                        "another replica hears of the API server, this one does not: sidecars are sent away"
                        if known
                        else "no other replica knows more: sidecars may stay"
                    )
                self.know_more = known

    def _addresses(self) -> list[str]:
        return [
            pod.ips[0]
            for pod in self._pods
            if pod.namespace == self._settings.namespace
            and pod.service_account == DIRECTORY_ACCOUNT
            and pod.name != self._settings.pod_name
            and pod.ips
            and not pod.terminal
        ]

    async def _ready(self, session: aiohttp.ClientSession, address: str) -> bool:
        host = f"[{address}]" if ip_address(address).version == 6 else address
        try:
            async with session.get(f"http://{host}:{self._port}/readyz") as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
