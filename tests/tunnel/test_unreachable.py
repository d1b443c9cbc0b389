"""A peer's mesh port that does not answer: the sentence names what may stand in the way."""

import asyncio
import errno
import os
import socket

import pytest

from handfast_sidecar.tunnel import dial
from handfast_sidecar.tunnel.unreachable import dial_failed, no_answer
from support.mesh import HOST, is_reset, mesh


@pytest.mark.parametrize("number", [errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM])
def test_what_a_policy_may_have_prohibited_names_it(number: int) -> None:
    said = dial_failed("10.0.0.7", 14008, OSError(number, os.strerror(number)))
    assert said.startswith(f"10.0.0.7:14008: {os.strerror(number)}")
    assert "a NetworkPolicy that admits the application's port must admit 14008/TCP too" in said


def test_a_refused_dial_asks_for_the_sidecar_first() -> None:
    said = dial_failed("fd00::7", 14008, OSError(errno.ECONNREFUSED, "Connection refused"))
    assert said.startswith("[fd00::7]:14008: Connection refused: is the peer's sidecar running?")


def test_another_error_is_told_as_it_is() -> None:
    assert dial_failed("10.0.0.7", 14008, OSError(errno.EMFILE, "Too many open files")) == (
        "10.0.0.7:14008: Too many open files"
    )


def test_silence_is_told_with_the_time_it_took() -> None:
    assert no_answer("10.0.0.7", 14008, 5.0).startswith("no answer from 10.0.0.7:14008 within 5 s: a NetworkPolicy")


async def test_a_connection_whose_tunnel_gets_no_answer_is_refused_with_that_sentence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full accept queue drops a SYN as a packet filter does (tcp_v4_conn_request: sk_acceptq_is_full)."""
    monkeypatch.setattr(dial, "DIAL_TIMEOUT_S", 0.3)
    with socket.socket() as full, socket.socket() as first:
        full.bind((HOST, 0))
        full.listen(0)
        first.connect(full.getsockname())
        async with mesh(1) as (client, _server):
            client.pool._mesh_port = full.getsockname()[1]
            assert await asyncio.wait_for(is_reset(client.listener.port), 10)
            assert (await client.ended.next()).reason == "handshake_unreachable"
    [record] = [each for each in caplog.records if each.message == "outbound connection refused"]
    assert "no answer from" in record.__dict__["detail"]
    assert "NetworkPolicy" in record.__dict__["detail"]
