"""Servers that come, go, and do not accept; and what becomes of those who dial them."""

import time
from typing import Final

from forms.conftest import Way, Ways
from handfast_sidecar.traffic.inbound import APP_DIAL_TIMEOUT_S

AT_ONCE_S: Final = 1.0
"""Within this a dial that leads nowhere has ended, on a machine that is busy with other tests."""
WAITS_S: Final = 1.5
"""Longer than this a SYN that is dropped waits: the kernel sends the next one after a second."""


def test_a_client_that_dials_before_the_server_listens_is_told_at_once_and_served_later(ways: Ways) -> None:
    for way, fate in ((ways.direct, "refused"), (ways.meshed, "reset"), (ways.passed_on, "reset")):
        with way.listen(4) as listener:
            port = listener.getsockname()[1]
        assert _fate(way, port) == fate
        with way.listen(4, port) as listener, way.dial(4, port) as client, listener.accept()[0] as server:
            client.sendall(b"there now?")
            assert server.recv(100) == b"there now?"


def test_a_server_that_stops_listening_keeps_its_connections_and_gets_no_new_one(ways: Ways) -> None:
    for way, fate in ((ways.direct, "refused"), (ways.meshed, "reset"), (ways.passed_on, "reset")):
        listener = way.listen(4)
        port = listener.getsockname()[1]
        with way.dial(4, port) as client, listener.accept()[0] as server:
            listener.close()
            assert _fate(way, port) == fate
            client.sendall(b"still there?")
            assert server.recv(100) == b"still there?"


def test_a_connection_that_finds_no_place_in_a_servers_queue_ends_after_a_while(ways: Ways) -> None:
    with ways.direct.listen(4, backlog=0) as listener:
        port = listener.getsockname()[1]
        with ways.direct.dial(4, port):
            assert _fate(ways.direct, port, WAITS_S) == "silence"
    with ways.meshed.listen(4, backlog=0) as listener:
        port = listener.getsockname()[1]
        with ways.meshed.dial(4, port) as first:
            first.sendall(b"first")
            began = time.monotonic()
            assert _fate(ways.meshed, port, 2 * APP_DIAL_TIMEOUT_S) == "reset"
            assert time.monotonic() - began > APP_DIAL_TIMEOUT_S / 2
            with listener.accept()[0] as accepted:
                assert accepted.recv(100) == b"first"
        with ways.meshed.dial(4, port) as client, listener.accept()[0] as accepted:
            client.sendall(b"next")
            assert accepted.recv(100) == b"next"


def _fate(way: Way, port: int, patience_s: float = AT_ONCE_S) -> str:
    """How a dial ends, and in time."""
    try:
        with way.dial(4, port, patience_s) as sock:
            return f"heard {sock.recv(100)!r}"
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        return "silence"
