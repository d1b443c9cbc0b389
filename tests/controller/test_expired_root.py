"""The controller was away until the trust domain's only root had ended: all heals without a restart of any pod.

By the real clock: a root that ended an hour ago, two sidecars that still present leaves of it, real tunnels.
"""

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

from handfast_operator.authority.authority import AuthoritySet
from handfast_operator.authority.storage import AuthorityStorage
from handfast_operator.cluster.objects import Pod
from handfast_sidecar.identity.reload import IdentityKeeper
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.observe.metrics import Registry
from support.issuing import SECRETS, World
from support.mesh import STRICT, Client, Server, application, echo
from support.objects import pod
from support.pki import project
from support.virtual_time import VirtualTime

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CART, ORDERS = (
    pod("shop", "cart", uid="uid-1", service_account="cart"),
    pod("shop", "orders", uid="uid-2", service_account="orders"),
)
WHO_SERVES = SpiffeId.parse("spiffe://cluster.local/ns/shop/sa/orders")


class Sidecar:
    """What kubelet projects for a pod, and who reads it."""

    def __init__(self, world: World, of: Pod, folder: Path) -> None:
        self._path, self._world, self.folder = f"{SECRETS}/{of.secret}", world, folder / of.name
        self.keeper = IdentityKeeper(self.folder, Registry())
        self.project()
        self.keeper.load_first()

    def project(self) -> None:
        data = self._world.api.objects[self._path]["data"]
        project(self.folder, {name: base64.b64decode(text) for name, text in data.items()})


async def test_a_trust_domain_whose_root_has_ended_heals_when_the_controller_comes_back(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ended = now - HOUR
    warnings: list[str] = []
    world = World()
    storage = AuthorityStorage(
        world.api, "handfast-system", "cluster.local", lambda reason, note: warnings.append(f"{reason}: {note}")
    )
    world.time = VirtualTime(ended - DAY)
    world.authorities = await storage.ensure(ended - 90 * DAY)
    async with world.issuer():
        world.pods.put(CART)
        world.pods.put(ORDERS)
        await world.settle()
    cart, orders = Sidecar(world, CART, tmp_path), Sidecar(world, ORDERS, tmp_path)
    for each in (cart, orders):
        assert "1:00:0" in each.keeper.trouble(), "it says since when"
    async with application(echo) as app_port:
        server = Server(orders.keeper.current, STRICT)
        client = Client(cart.keeper.current, server, app_port, expected=WHO_SERVES)
        orders.keeper.subscribe(lambda identity: setattr(server, "who", identity))
        cart.keeper.subscribe(lambda identity: setattr(client, "who", identity))
        try:
            assert await asks(client) == b""
            assert set(client.failures) == {"expired"}
            await comes_back(world, storage)
            for each in (cart, orders):
                each.project()
                assert each.keeper.look()
                assert each.keeper.trouble() == ""
            assert await asks(client) == b"hello"
        finally:
            client.close()
            server.close()
    assert [each.partition(":")[0] for each in warnings] == ["AuthorityExpired"]
    assert "within 100 s" in warnings[0]


async def test_the_new_root_is_one_that_restarts_find_again(tmp_path: Path) -> None:
    world = World()
    storage = AuthorityStorage(world.api, "handfast-system", "cluster.local", lambda _reason, _note: None)
    ended = datetime.now(UTC) - HOUR
    await storage.ensure(ended - 90 * DAY)
    made = await storage.ensure(ended + HOUR)
    again = await storage.ensure(ended + 2 * HOUR)
    assert made.active.serial == again.active.serial
    assert made.fingerprint == again.fingerprint


async def comes_back(world: World, storage: AuthorityStorage) -> AuthoritySet:
    """A controller starts, now: authorities first, then leaves."""
    await world.settle(datetime.now(UTC) - world.time.now())
    world.authorities = await storage.ensure(world.time.now())
    async with world.issuer():
        await world.settle(timedelta(seconds=1))
    return world.authorities


async def asks(client: Client) -> bytes:
    """What the application hears; nothing when the connection is refused."""
    try:
        reader, writer = await client.dial()
        writer.write(b"hello")
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    except OSError:
        return b""
    return answer
