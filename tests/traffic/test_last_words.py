"""A server that answers and closes while its client still sends: the answer comes before the reset, as TCP has it."""

import asyncio
import socket

import pytest

from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.traffic.plain import PlainRelay
from handfast_sidecar.traffic.relay import Relay
from support.mesh import HOST, mesh


def waits(relay: Relay | PlainRelay) -> bool:
    """Whether bytes wait for the server's application."""
    return bool(relay._queue) if isinstance(relay, Relay) else relay._dialler.other._pending is not None


@pytest.mark.parametrize("way", ["by tunnel", "in plaintext"])
async def test_an_answer_amid_an_upload_arrives_before_the_reset(way: str) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server((HOST, 0)) as listening:
        listening.setblocking(False)
        port = listening.getsockname()[1]
        async with mesh(port, policy=EffectivePolicy()) as (dialling, serving):
            serving.plain_destination = (HOST, port)
            listener = dialling.listener if way == "by tunnel" else serving.plain_listener
            with socket.create_connection((HOST, listener.port)) as client:
                client.setblocking(False)
                app, _ = await loop.sock_accept(listening)
                while not any(map(waits, serving.inbound.relays)):
                    try:
                        client.send(bytes(65536))
                    except BlockingIOError:
                        await asyncio.sleep(0)
                app.send(b"enough")
                app.close()
                assert await loop.sock_recv(client, 100) == b"enough"
                with pytest.raises(ConnectionResetError):
                    await loop.sock_recv(client, 100)
            assert (await serving.ended.next()).reason == ("app_aborted" if way == "by tunnel" else "aborted")
