"""Many connections at once, many in a row, and one that lasts."""

import selectors
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import pytest

from forms.conftest import Way, Ways
from handfast_bench.limits import relayed_connections
from handfast_bench.namespaces import CLIENT
from handfast_sidecar.tunnel.connection import DEAD_AFTER_TICKS, TICK_S
from handfast_sidecar.tunnel.pool import LANES

IDLE: Final = 10_000
SHORT: Final = 500
AT_ONCE: Final = 32
LONG_S: Final = (DEAD_AFTER_TICKS + 1) * TICK_S
"""Longer than a tunnel on which nothing moves is believed to be alive."""


class Echo:
    """A server for as many as come: sends back what it hears, and closes when the client does."""

    def __init__(self, listener: socket.socket) -> None:
        self.accepted = 0
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="echo")
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(self._stopped, selectors.EVENT_READ)
        self._thread.start()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stopped:
                    return
                if key.fileobj is self._listener:
                    sock, _address = self._listener.accept()
                    self.accepted += 1
                    self._selector.register(sock, selectors.EVENT_READ)
                    continue
                assert isinstance(key.fileobj, socket.socket)
                heard = key.fileobj.recv(65536)
                if heard:
                    key.fileobj.sendall(heard)
                else:
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()

    def end(self) -> None:
        self._stop.send(b".")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()
        self._stop.close()


@contextmanager
def echo(way: Way, family: int) -> Iterator[tuple[Echo, int]]:
    """A running server, and its port."""
    listener = way.listen(family, backlog=4096)
    server = Echo(listener)
    try:
        yield server, listener.getsockname()[1]
    finally:
        server.end()


@pytest.fixture(scope="module")
def old(ways: Ways) -> Iterator[tuple[socket.socket, float]]:
    """A connection that has been silent since the first test of this module, and since when."""
    with echo(ways.meshed, 4) as (_, port), ways.meshed.dial(4, port) as sock:
        sock.sendall(b"young")
        assert sock.recv(100) == b"young"
        yield sock, time.monotonic()


@pytest.mark.usefixtures("old")
@pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])
def test_many_short_connections_each_get_their_answer(ways: Ways, family: int) -> None:
    for way in ways.through:
        with echo(way, family) as (server, port), ThreadPoolExecutor(AT_ONCE) as pool:
            assert all(pool.map(lambda number: _asked(way, family, port, number), range(SHORT)))  # noqa: B023
            assert server.accepted == SHORT


@pytest.mark.usefixtures("old")
def test_ten_thousand_idle_connections_are_each_used_once(ways: Ways) -> None:
    """Fewer where a process may not open so many files."""
    count = min(IDLE, relayed_connections())
    address = ways.meshed.addresses[4]
    with echo(ways.meshed, 4) as (server, port):
        clients = ways.meshed.sockets(4, count)
        try:
            for client in clients:
                client.settimeout(10)
                client.connect((address, port))
            for number, client in enumerate(clients):
                client.sendall(b"%d" % number)
            assert all(client.recv(100) == b"%d" % number for number, client in enumerate(clients))
            assert server.accepted == count
            assert ways.pair.metric(CLIENT, "handfast_tunnels", side="client") <= LANES
        finally:
            for client in clients:
                client.close()


def test_a_connection_that_was_silent_for_long_is_used_as_if_nothing_had_been(
    old: tuple[socket.socket, float],
) -> None:
    sock, since = old
    time.sleep(max(0.0, since + LONG_S - time.monotonic()))
    sock.sendall(b"old")
    assert sock.recv(100) == b"old"


def _asked(way: Way, family: int, port: int, number: int) -> bool:
    with way.dial(family, port) as sock:
        sock.sendall(b"%d" % number)
        return sock.recv(100) == b"%d" % number
