"""A pod that ends while its clients open connections: real sidecars in network namespaces, and no luck with time.

The client's sidecar is stopped, so that whatever happens meanwhile reaches it at once when it goes on: connections of
its application, and that the pod ends to which it has a tunnel. Whichever it looks at first, nobody may be lost.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from support.pods import SERVICE, Node

DIALS = 8
"""Of two endpoints with as many connections each takes every second, so some are on the tunnel to the one that ends."""
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(name: str) -> Handler:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name.encode() + b" " + await reader.readline())
        writer.close()

    return answer


@pytest.mark.timeout(120)
async def test_what_a_client_opens_before_it_hears_that_a_pod_ends_is_answered_by_another(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack, Node.running(tmp_path) as node:
        client, ending, other = [await node.start(name) for name in ("client", "orders1", "orders2")]
        for each in (ending, other):
            listening = await asyncio.start_server(answering(each.pod.name), sock=each.listening())
            stack.callback(listening.close)
        node.serve(ending, other)

        async def dial() -> asyncio.StreamReader:
            sock = client.dialling()
            await asyncio.get_running_loop().sock_connect(sock, (SERVICE, 80))
            reader, writer = await asyncio.open_connection(sock=sock)
            stack.callback(writer.close)
            writer.write(b"request\n")
            await writer.drain()
            return reader

        answered: set[bytes] = set()
        while len(answered) < 2:
            answered.add(await (await dial()).readline())

        client.signal(signal.SIGSTOP)
        dialled = [await dial() for _ in range(DIALS)]
        ending.signal(signal.SIGTERM)
        await ending.said('"message":"draining"')
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ending.ended(), 1)
        client.signal(signal.SIGCONT)

        assert [await each.readline() for each in dialled] == [b"orders2 request\n"] * DIALS
        assert await ending.ended() == 0
