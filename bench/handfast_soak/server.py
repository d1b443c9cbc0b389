"""The process that is dialled: `python -m handfast_soak.server ADDRESS`. One line of JSON for each connection.

It runs until SIGTERM and says `ready` first.
"""

import asyncio
import socket
import sys
from typing import Final

from handfast_soak import own_time
from handfast_soak.conversation import Ended, Outcome, carry_out
from handfast_soak.endpoint import Broken, Endpoint, PeerReset
from handfast_soak.plan import HEADER_BYTES, Kind, Order, Plan, Side

PORT: Final = 7000
READY: Final = "ready"
_UNKNOWN: Final = Plan(0, Kind.EMPTY, Order.TOGETHER)
"""Of a connection whose plan has not arrived."""


async def serve(address: str) -> None:
    """Accept until cancelled."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()
    with socket.create_server((address, PORT), backlog=1024) as listener:
        listener.setblocking(False)
        _say(READY)
        while True:
            sock, _peer = await loop.sock_accept(listener)
            task = asyncio.create_task(_one(sock))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


async def _one(sock: socket.socket) -> None:
    never = asyncio.Event()
    try:
        plan = await _plan(sock)
    except (PeerReset, Broken, ValueError) as error:
        sock.close()
        ended = Ended.RESET if isinstance(error, PeerReset) else Ended.FAILED
        _say(Outcome("server", 0, Kind.EMPTY.word, Side.NOBODY.word, ended, 0, 0, str(error)).dump())
        return
    if plan is None:
        sock.close()
        _say(Outcome("server", 0, Kind.EMPTY.word, Side.NOBODY.word, Ended.CLEAN, 0, 0).dump())
        return
    outcome = await carry_out(Endpoint(sock, plan, Side.SERVER), never)
    _say(outcome.dump())


async def _plan(sock: socket.socket) -> Plan | None:
    """What the client wants; None when it only connected and closed."""
    header, end = b"", Endpoint(sock, _UNKNOWN, Side.SERVER)
    while len(header) < HEADER_BYTES:
        data = await end.receive_raw(HEADER_BYTES - len(header))
        if not data and not header:
            return None
        if not data:
            raise Broken(f"FIN within the plan, after {header.hex()}")
        header += data
    return Plan.decode(header)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    own_time.run(serve(sys.argv[1]))
