"""The cluster's own ranges: an address inside is never passed in plaintext while nobody knows what lives there.

Given as a value, or found: Service ranges from ServiceCIDR objects, pod ranges from the nodes. Where the cluster does
not say, they are guessed around the addresses that pods and Services have, generously, because a range too large is
only careful and one too small would let plaintext pass.
"""

import logging
from collections.abc import Iterable, Sequence
from ipaddress import collapse_addresses, ip_network
from typing import Any, Final

from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import NODES, SERVICE_CIDRS
from handfast_sidecar.config.document import Network, within

log = logging.getLogger(__name__)

GUESS_V4: Final = 16
GUESS_V6: Final = 64
"""Prefix lengths of a guessed range."""


async def find_ranges(client: ApiClient, given: tuple[Network, ...], addresses: Iterable[str]) -> tuple[Network, ...]:
    """The ranges that sidecars are told. `addresses`: of known pods and Services, for the guess. Raises ApiError."""
    if given:
        return given
    services = cidrs_of_services(await _list(client, SERVICE_CIDRS.path))
    pods = cidrs_of_nodes(await _list(client, NODES.path))
    found = [*services, *pods]
    guessed = guess(addresses, found)
    if guessed:
        log.warning(
            "the cluster does not say all of its ranges, guessing: set the chart value clusterRanges",
            extra={"found": [str(each) for each in found], "guessed": [str(each) for each in guessed]},
        )
    return collapse([*found, *guessed])


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


def collapse(networks: Sequence[Network]) -> tuple[Network, ...]:
    """Without overlaps, IPv4 first."""
    four = [each for each in networks if each.version == 4]
    six = [each for each in networks if each.version == 6]
    return (*collapse_addresses(four), *collapse_addresses(six))


async def _list(client: ApiClient, path: str) -> list[dict[str, Any]]:
    try:
        return list((await client.get(path)).get("items") or ())
    except ApiError as error:
        if error.status in (403, 404):  # an older cluster, or one that does not let us look
            return []
        raise
