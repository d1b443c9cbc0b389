"""A process that runs as the sidecar's user is found by its sockets, and our own sockets are never taken for it."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from handfast_sidecar.observe import own_user
from handfast_sidecar.observe.own_user import OwnUser, own_inodes, strangers
from handfast_sidecar.observe.proc_net import TcpSocket, sockets

LISTEN = (
    "import socket, sys; server = socket.create_server(('127.0.0.1', 0)); print(server.getsockname()[1], flush=True); "
    "sys.stdin.read()"
)
DIAL = "import socket, sys; sock = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print(1, flush=True); sys.stdin.read()"  # noqa: E501 - a program
UID = 7443


@contextmanager
def process(program: str, *words: str) -> Iterator[int]:
    """Another process of the same user; the number that it printed."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        yield int(running.stdout.readline())
        running.stdin.close()


def held(uid: int = UID, inode: int = 5) -> TcpSocket:
    return TcpSocket("10.0.0.7", 8080, listening=True, uid=uid, inode=inode)


def test_a_socket_of_another_user_or_of_nobody_or_of_ours_is_no_strangers() -> None:
    assert strangers([held(uid=0), held(inode=0), held(inode=7)], UID, {7}) == []
    assert strangers([held(inode=8)], UID, {7}) == [held(inode=8)]


def test_the_inodes_of_our_own_sockets_are_known() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert os.fstat(server.fileno()).st_ino in own_inodes()


def beside(port: int) -> list[TcpSocket]:
    """The machine's sockets at one port: tests share its network with others of their user."""
    return [each for each in sockets() if each.port == port]


def test_a_listener_of_another_process_is_found_and_its_port_named(caplog: pytest.LogCaptureFixture) -> None:
    with process(LISTEN) as port:
        assert OwnUser(os.getuid(), lambda: beside(port)).tell()
    [record] = [each for each in caplog.records if each.message == "an application runs as the sidecar's user"]
    assert f"listens on port {port}" in record.__dict__["detail"]
    assert "runAsUser" in record.__dict__["detail"]


def test_a_client_of_another_process_is_found(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with process(DIAL, str(port)):
            accepted, (_, theirs) = server.accept()
            with accepted:
                assert OwnUser(os.getuid(), lambda: beside(theirs)).tell()
                assert not OwnUser(os.getuid(), lambda: beside(port)).tell()
    assert "has TCP connections" in caplog.records[0].__dict__["detail"]


def test_a_connection_that_we_have_not_accepted_yet_is_not_taken_for_a_strangers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        ours = {server.getsockname()[1], client.getsockname()[1]}
        assert not OwnUser(os.getuid(), lambda: [each for each in sockets() if each.port in ours]).tell()


def test_a_socket_that_a_thread_of_ours_opened_and_closed_meanwhile_is_not_taken_for_a_strangers() -> None:
    glances = iter([[held(inode=5)], [held(inode=6)]])
    assert not OwnUser(UID, lambda: next(glances), set).tell()
    assert OwnUser(UID, lambda: [held()], set).tell()


async def test_it_is_told_once_and_then_nobody_looks_any_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(own_user, "LOOK_S", 0.001)
    await asyncio.wait_for(OwnUser(os.geteuid(), lambda: [held(uid=os.geteuid())], set).run(), 10)
    assert len(caplog.records) == 1


async def test_a_sidecar_that_runs_as_another_user_looks_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_user, "LOOK_S", 0.0)
    await asyncio.wait_for(OwnUser(os.geteuid() + 1).run(), 10)
