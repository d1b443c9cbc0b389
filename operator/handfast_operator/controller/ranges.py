"""The cluster's own ranges: an address inside is never passed in plaintext while nobody knows what lives there.

Given as a value, or found: Service ranges from ServiceCIDR objects, pod ranges from the nodes. Where the cluster does
not say, they are guessed around the addresses that pods and Services have, generously, because a range too large is
only careful and one too small would let plaintext pass.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from ipaddress import collapse_addresses, ip_network
from typing import Any, Final

import aiohttp

from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import NODES, SERVICE_CIDRS
from handfast_sidecar.config.document import Network, within

log = logging.getLogger(__name__)

GUESS_V4: Final = 16
GUESS_V6: Final = 64
"""Prefix lengths of a guessed range, and of the largest one that nodes' ranges are joined to."""
LOOK_S: Final = 300.0
"""Seconds between looks: nodes come and go, and an address in the range of a new one is guessed meanwhile."""
PAGE: Final = "500"


class ClusterRanges:
    """The ranges as known now; they only grow, because every sidecar must be told of a change."""

    def __init__(
        self,
        client: ApiClient,
        given: tuple[Network, ...],
        addresses: Callable[[], Iterable[str]],
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        """`addresses`: of pods and Services, as known when asked; `changed` is called when there are more ranges."""
        self._client = client
        self._given = given
        self._addresses = addresses
        self.changed = changed
        self.known: tuple[Network, ...] = given

    async def look(self) -> None:
        """Ask the cluster. Raises ApiError."""
        if self._given:
            return
        services = cidrs_of_services(await _list(self._client, SERVICE_CIDRS.path))
        pods = cidrs_of_nodes(await _list(self._client, NODES.path))
        self._take([*services, *pods])

    async def run(self) -> None:
        """Look again from time to time, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                log.warning("cannot ask for the cluster's ranges, keeping those known", extra={"error": str(error)})

    def _take(self, found: Sequence[Network]) -> None:
        told = summarise([*self.known, *found])
        guessed = guess(self._addresses(), told)
        if guessed:
            log.warning(
                "the cluster does not say all of its ranges, guessing: set the chart value clusterRanges",
                extra={"found": [str(each) for each in told], "guessed": [str(each) for each in guessed]},
            )
        ranges = summarise([*told, *guessed])
        if ranges != self.known:
            self.known = ranges
            log.info("cluster ranges", extra={"ranges": [str(each) for each in ranges]})
            self.changed()


def cidrs_of_services(items: Iterable[dict[str, Any]]) -> list[Network]:
    """Ranges of ServiceCIDR objects (networking.k8s.io/v1)."""
    return [ip_network(text) for each in items for text in (each.get("spec") or {}).get("cidrs") or ()]


def cidrs_of_nodes(items: Iterable[dict[str, Any]]) -> list[Network]:
    """Pod ranges of nodes, where the cluster assigns them."""
    return [ip_network(text) for each in items for text in (each.get("spec") or {}).get("podCIDRs") or ()]


def guess(addresses: Iterable[str], known: Iterable[Network]) -> list[Network]:
    """Ranges around the addresses that lie in no known one."""
    ranges, guessed = list(known), []
    for address in sorted(set(addresses)):
        if not within(ranges, address):
            network = ip_network(f"{address}/{GUESS_V6 if ':' in address else GUESS_V4}", strict=False)
            ranges.append(network)
            guessed.append(network)
    return guessed


def summarise(networks: Iterable[Network]) -> tuple[Network, ...]:
    """Few ranges that contain all of these, IPv4 first.

    Neighbours are joined to the smallest range around them, up to a /16 or a /64: the ranges of many nodes are one, and
    a new node in it changes no sidecar's configuration.
    """
    heads: dict[Network, Network] = {}
    for network in networks:
        longest = GUESS_V6 if network.version == 6 else GUESS_V4
        head = network.supernet(new_prefix=min(longest, network.prefixlen))
        heads[head] = _around(heads[head], network) if head in heads else network
    four = [each for each in heads.values() if each.version == 4]
    six = [each for each in heads.values() if each.version == 6]
    return (*collapse_addresses(four), *collapse_addresses(six))


def _around(one: Network, other: Network) -> Network:
    """The smallest network that contains both."""
    while other.network_address not in one or other.broadcast_address not in one:
        one = one.supernet()
    return one


async def _list(client: ApiClient, path: str) -> list[dict[str, Any]]:
    """All objects of a collection; none where the cluster is older than the kind, or does not let us look."""
    items: list[dict[str, Any]] = []
    params = {"limit": PAGE}
    try:
        while True:
            page = await client.get(path, params)
            items.extend(page.get("items") or ())
            following = (page.get("metadata") or {}).get("continue")
            if not following:
                return items
            params = {"limit": PAGE, "continue": following}
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        return []
