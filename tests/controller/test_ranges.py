"""The cluster's ranges: found, guessed, and steady."""

from ipaddress import ip_network
from typing import Any

from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from handfast_operator.controller.ranges import ClusterRanges, guess, summarise
from support.api_server import serving, status

SERVICES = {"items": [{"spec": {"cidrs": ["10.96.0.0/16", "fd00:96::/112"]}}]}


def nets(*texts: str) -> tuple[Any, ...]:
    return tuple(ip_network(text) for text in texts)


def nodes(*cidrs: str) -> dict[str, Any]:
    return {"items": [{"spec": {"podCIDRs": [cidr]}} for cidr in cidrs]}


def answering(services: Any, listed: Any) -> list[web.RouteDef]:
    async def answer(request: web.Request) -> web.Response:
        found = services if request.path.endswith("servicecidrs") else listed
        return web.json_response(found) if isinstance(found, dict) else status(*found)

    return [web.get("/{path:.*}", answer)]


async def test_given_ranges_are_taken_without_a_question() -> None:
    async with serving([]) as client:
        ranges = ClusterRanges(client, nets("10.0.0.0/8"), lambda: ["192.168.1.1"])
        await ranges.look()
        assert ranges.known == nets("10.0.0.0/8")


async def test_ranges_come_from_service_cidrs_and_nodes() -> None:
    async with serving(answering(SERVICES, nodes("10.244.0.0/24", "10.244.3.0/24"))) as client:
        ranges = ClusterRanges(client, (), lambda: ["10.244.3.7"])
        await ranges.look()
        assert ranges.known == nets("10.96.0.0/16", "10.244.0.0/22", "fd00:96::/112")


async def test_an_older_cluster_without_service_cidrs_is_guessed_at(caplog: Any) -> None:
    async with serving(answering((404, "NotFound", "no such kind"), nodes("10.244.0.0/24"))) as client:
        ranges = ClusterRanges(client, (), lambda: ["10.96.7.1", "10.96.0.10", "10.244.0.9", "fd00:7::1"])
        await ranges.look()
        assert ranges.known == nets("10.96.0.0/16", "10.244.0.0/24", "fd00:7::/64")
    assert "the cluster does not say all of its ranges, guessing: set the chart value clusterRanges" in caplog.messages


async def test_a_change_is_told_once_and_a_node_that_goes_takes_nothing_with_it() -> None:
    told: list[int] = []
    listed = nodes("10.244.0.0/24", "10.244.3.0/24")
    async with serving(answering(SERVICES, listed)) as client:
        ranges = ClusterRanges(client, (), list, lambda: told.append(1))
        await ranges.look()
        listed["items"] = listed["items"][:1]
        await ranges.look()
        assert "10.244.0.0/22" in map(str, ranges.known)
        assert told == [1]


def test_an_address_in_a_known_range_is_not_guessed_around() -> None:
    assert guess(["10.1.2.3", "10.1.9.9", "172.16.0.1"], nets("10.1.0.0/16")) == [*nets("172.16.0.0/16")]


def test_ranges_far_apart_are_not_joined() -> None:
    assert summarise(nets("10.1.0.0/24", "10.2.0.0/24")) == nets("10.1.0.0/24", "10.2.0.0/24")


addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
networks = st.builds(
    lambda address, bits: ip_network(f"{address}/{address.max_prefixlen - min(bits, 112)}", strict=False),
    addresses,
    st.integers(0, 32),
)


@given(st.lists(networks, max_size=8))
def test_the_summary_contains_every_range_and_summarising_again_changes_nothing(given_networks: list[Any]) -> None:
    summary = summarise(given_networks)
    assert all(any(each.network_address in whole for whole in summary) for each in given_networks)
    assert all(any(each.broadcast_address in whole for whole in summary) for each in given_networks)
    assert summarise(summary) == summary
