"""The directory tells who is revoked, and parts with them."""

import asyncio
import time
from pathlib import Path

import pytest

from handfast_sidecar.identity.revocation import Revocations
from support.directory import Lab, Sidecar, count, until
from support.revocations import trust_domain
from support.stores import TRUST_DOMAIN, Cluster, pod

CART, ORDERS = pod("cart", "10.0.0.1"), pod("orders", "10.0.0.2")
CART_ID = "spiffe://test.example/ns/shop/sa/cart"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, Cluster(CART, ORDERS))


def revoke(lab: Lab, *entries: dict[str, str]) -> None:
    lab.trust_domains.put(trust_domain(TRUST_DOMAIN, *entries))


def told(sidecar: Sidecar) -> list[int]:
    return [len(each.entries) for each in sidecar.revoked]


async def test_a_hundred_sidecars_hear_of_it_and_the_revoked_one_is_parted_with(tmp_path: Path) -> None:
    pods = [pod(f"p{number}", f"10.0.1.{number}") for number in range(100)]
    lab = Lab(tmp_path, Cluster(*pods))
    async with lab.server() as server:
        sidecars = [lab.sidecar(each) for each in pods]
        try:
            for number, sidecar in enumerate(sidecars, 1):
                await sidecar.__aenter__()
                await until(lambda expected=number: len(server.switchboard) == expected)  # type: ignore[misc]
            began = time.monotonic()
            revoke(lab, {"identity": "spiffe://test.example/ns/shop/sa/p7", "reason": "stolen"})
            await until(lambda: all(told(each)[-1:] == [1] for each in sidecars))
            print(f"all were told after {time.monotonic() - began:.3f} s")  # noqa: T201 - the test does not judge it
            await sidecars[7].ended("goodbye")
            await until(lambda: len(server.switchboard) == 99)
            assert count(lab.registry, "handfast_directory_sessions_ended_total", "revoked") == 1
            await lab.refused("revoked")
        finally:
            for sidecar in sidecars:
                await sidecar.__aexit__()


async def test_who_connects_later_is_told_at_once_and_an_undo_too(lab: Lab) -> None:
    revoke(lab, {"identity": CART_ID, "reason": "stolen"})
    async with lab.server(), lab.sidecar(ORDERS) as orders, lab.sidecar(CART) as cart:
        await until(lambda: told(orders) == [1])
        await lab.refused("revoked")
        assert cart.revoked == []
        revoke(lab)
        await until(lambda: told(orders) == [1, 0])
        await until(lambda: cart.directory.connected)
        assert orders.revoked[-1].revision > orders.revoked[0].revision


async def test_where_nobody_was_ever_revoked_nothing_is_told(lab: Lab) -> None:
    async with lab.server(), lab.sidecar(ORDERS) as orders:
        await until(lambda: bool(orders.policies))
        assert orders.revoked == []


async def test_a_directory_whose_certificate_is_revoked_is_left(lab: Lab) -> None:
    async with lab.server(), lab.sidecar(ORDERS) as orders:
        await until(lambda: orders.directory.connected)
        stream = orders.directory._questions.stream
        assert stream is not None
        standing = orders.directory._tenure.standing
        document = {"revision": 1, "entries": [{"serial": stream.proof.leaf.serial, "reason": "stolen"}]}
        assert standing.offer(Revocations.from_json(document))
        orders.directory.look_again()
        await orders.ended("revoked", 2)
        assert not orders.directory.connected
        await asyncio.sleep(0)
