"""What reaches the directory's port and is no sidecar in good order: refused, at nobody else's cost."""

import asyncio
import contextlib
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from handfast_sidecar.directory.codec import decode_from_directory, encode
from handfast_sidecar.directory.messages import FromSidecar, Goodbye, Hello, Unwatch, Watch, Welcome
from support.directory import HOST, Lab, until
from support.stores import Cluster, end, endpoint_slice, pod, service

CART = pod("cart", "10.0.0.1")
ORDERS = pod("orders", "10.0.0.2")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, Cluster(CART, ORDERS))


async def dial(lab: Lab, context: ssl.SSLContext) -> None:
    """Connect and wait until the server has ended it."""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(HOST, lab.port, ssl=context)
        await reader.read()
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("reason", "pod_uid", "account"),
    [("unknown_pod", "uid-nobody", "cart"), ("wrong_identity", CART.uid, "orders"), ("no_pod_uid", None, "cart")],
)
async def test_a_leaf_that_fits_no_pod_is_refused(lab: Lab, reason: str, pod_uid: str | None, account: str) -> None:
    leaf = lab.authority.issue(f"spiffe://test.example/ns/shop/sa/{account}", pod_uid=pod_uid)
    async with lab.server() as server:
        server._acceptor._gate._wait_s = 0.05
        await dial(lab, lab.tls_client(leaf))
        await lab.refused(reason)


async def test_garbage_on_the_port_is_refused_and_the_next_sidecar_is_served(lab: Lab) -> None:
    async with lab.server():
        reader, writer = await asyncio.open_connection(HOST, lab.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.read()
        writer.close()
        await writer.wait_closed()
        await lab.refused("tls")
        async with lab.sidecar(CART) as sidecar:
            assert await sidecar.directory.resolve("10.0.0.2", 5) is not None


async def test_silent_connections_of_one_source_cost_nobody_else_a_place(lab: Lab) -> None:
    async with lab.server():
        held = [await asyncio.open_connection(HOST, lab.port) for _ in range(17)]
        await lab.refused("too_many_handshakes")
        for _reader, writer in held:
            writer.close()
            await writer.wait_closed()


async def test_a_line_without_end_ends_the_session(lab: Lab) -> None:
    async with lab.server():
        reader, writer = await asyncio.open_connection(HOST, lab.port, ssl=lab.tls_client(lab.leaf_of(CART)))
        writer.write(b"x" * (300 << 10))
        assert decode_from_directory(await reader.readline()) == Goodbye("line_too_long")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.mark.timeout(300)
async def test_a_sidecar_that_does_not_read_holds_up_nobody_and_no_memory(lab: Lab) -> None:
    ends = [end(pod(f"p{n}", f"10.1.{n // 250}.{n % 250}"), uid="") for n in range(1000)]
    lab.cluster.put(service("big", "10.96.0.9"), endpoint_slice("big-1", "big", [replace(e, pod_uid="") for e in ends]))
    async with lab.server() as server:
        reader, writer = await asyncio.open_connection(HOST, lab.port, ssl=lab.tls_client(lab.leaf_of(CART)))
        watches: list[FromSidecar] = [Watch("10.96.0.9"), Unwatch("10.96.0.9")] * 500
        writer.write(encode(Hello("test")) + b"".join(map(encode, watches)))
        await until(lambda: any(each._paused_at is not None for each in server.switchboard._connections.values()))
        (connection,) = server.switchboard._connections.values()
        assert connection.transport.get_write_buffer_size() < 1 << 20
        async with lab.sidecar(ORDERS) as other:
            assert await other.directory.resolve("10.96.0.9", 5) is not None
        assert isinstance(decode_from_directory(await reader.readline()), Welcome)
        for _ in range(502):  # the place, the policy, and an answer for each watch
            assert await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_a_sidecar_that_fell_silent_is_given_up(lab: Lab) -> None:
    async with lab.server() as server, lab.sidecar(CART) as sidecar:
        await until(lambda: sidecar.directory.connected)
        (connection,) = server.switchboard._connections.values()
        connection._heard_at -= 60
        connection.tick()
        await sidecar.ended("goodbye")
