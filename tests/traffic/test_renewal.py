"""Long connections and the tunnels that carry them, over any number of rotations."""

import asyncio
from datetime import timedelta

from handfast_sidecar.tunnel.connection import Tunnel
from handfast_sidecar.tunnel.succession import Renewing
from support.mesh import CLIENT_ID, SERVER_ID, Client, Server, application, echo, identity, mesh

CLIENT_UID = "22222222-0000-0000-0000-000000000000"
FAR_FUTURE = 1e9


def rotate(client: Client, server: Server, hours: int) -> None:
    """Newer leaves on both sides, as kubelet projects them."""
    client.who = identity(CLIENT_ID, pod_uid=CLIENT_UID, ttl=timedelta(hours=hours))
    server.who = identity(SERVER_ID, ttl=timedelta(hours=hours))


async def renewals(client: Client) -> None:
    """Until those that are under way have taken place."""
    await asyncio.gather(*(each.task for each in client.pool.succession.renewals.values()))


async def renewed(client: Client, old: Tunnel) -> Tunnel:
    """Renew a tunnel now instead of when it is due; the one that took over."""
    [key] = [key for key, tunnel in client.pool._current.items() if tunnel is old]
    client.pool.succession.renew(key, client.endpoint, old)
    await renewals(client)
    return client.pool._current[key]


async def test_a_connection_outlives_three_rotations_although_its_successors_are_idle() -> None:
    async with application(echo) as port, mesh(port) as (client, server):
        reader, writer = await client.dial()
        writer.write(b"0")
        assert await reader.readexactly(1) == b"0"
        first = latest = await client.pool.get(client.endpoint)
        for hours in (2, 3, 4):
            rotate(client, server, hours)
            latest = await renewed(client, latest)
            client.pool.sweep(FAR_FUTURE)
            writer.write(b"%d" % hours)
            assert await reader.readexactly(1) == b"%d" % hours
        assert first.expires == latest.expires == server.who.leaf.not_after
        serving = {tunnel.id: tunnel for tunnel in server.mesh.registry}
        assert set(serving) == {first.id, latest.id}, "those between had no streams, and ended"
        assert serving[first.id].expires == latest.expires, "the server extended it too"
        writer.close()


async def test_a_tunnel_whose_successor_is_lost_is_renewed_again() -> None:
    async with application(echo) as port, mesh(port) as (client, server):
        reader, writer = await client.dial()
        writer.write(b"0")
        assert await reader.readexactly(1) == b"0"
        first = await client.pool.get(client.endpoint)
        rotate(client, server, 2)
        second = await renewed(client, first)
        rotate(client, server, 3)
        second.close("lost")
        await renewals(client)
        assert first.expires == server.who.leaf.not_after
        writer.write(b"1")
        assert await reader.readexactly(1) == b"1"
        writer.close()


async def test_another_pods_tunnel_renews_nothing() -> None:
    async with application(echo) as port, mesh(port) as (client, server):
        first = await client.pool.get(client.endpoint)
        await first.decided.wait()
        [held] = server.mesh.registry
        expires = held.expires
        rotate(client, server, 2)
        client.who = identity(CLIENT_ID, pod_uid="another", ttl=timedelta(hours=2))
        thief = await client.pool._dial(client.endpoint, renews=first.id)
        await thief.decided.wait()
        assert held.expires == expires


async def test_a_renewal_with_the_same_leaves_extends_nothing() -> None:
    async with application(echo) as port, mesh(port) as (client, _server):
        first = await client.pool.get(client.endpoint)
        assert await client.pool.succession._successor(client.endpoint, first, Renewing()) is None


async def test_a_successor_that_is_no_newer_is_not_lost_for_its_server() -> None:
    async with application(echo) as port, mesh(port) as (client, server):
        old = await client.pool.get(client.endpoint)
        client.who = identity(CLIENT_ID, pod_uid=CLIENT_UID, ttl=timedelta(hours=2))
        assert client.who.leaf.not_after > old.expires, "ours is newer, the server's is not"
        assert await client.pool.succession._successor(client.endpoint, old, Renewing()) is None
        assert await asyncio.wait_for(client.closed.get(), 10) == "not_newer"
        assert await asyncio.wait_for(server.closed.get(), 10) == "drained"


async def test_a_tunnel_that_nobody_uses_is_closed_and_dialled_again() -> None:
    async with application(echo) as port, mesh(port) as (client, _server):
        first = await client.pool.get(client.endpoint)
        client.pool.sweep(FAR_FUTURE)
        assert await client.closed.get() == "drained"
        assert await client.pool.get(client.endpoint) is not first
