"""Probes against real servers on loopback."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from handfast_sidecar.config.probes import GrpcProbe, HttpProbe, ProbeTable, TcpProbe
from handfast_sidecar.traffic.grpc_health import frame
from handfast_sidecar.traffic.probes import ProbeRunner, run_probe
from handfast_sidecar.traffic.sockets import listen
from support.pki import TestAuthority, write_files

POD = "127.0.0.1"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def application(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that runs `script` for each connection; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, POD, 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


def says(*answers: str) -> Script:
    """An HTTP server that gives these answers, one per connection, and keeps what it was asked."""
    left = list(answers)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(left.pop(0).encode())
        await writer.drain()

    return script


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.parametrize("status", [200, 204, 302, 404, 500])
async def test_an_http_status_passes_through(status: int) -> None:
    async with application(says(f"HTTP/1.1 {status} Word\r\nContent-Length: 0\r\n\r\n")) as port:
        assert (await run_probe(HttpProbe(port), POD)).status == status


@pytest.mark.parametrize(
    "answer",
    [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nhello",
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
async def test_the_body_is_passed_on_however_it_is_framed(answer: str) -> None:
    async with application(says(answer)) as port:
        result = await run_probe(HttpProbe(port), POD)
    assert (result.status, result.body) == (200, b"hello")


HEADER = bytes.fromhex("0d0a0d0a000d0a515549540a20000000")


def after_header(script: Script) -> Script:
    """An application that is told who calls, and that takes no connection without it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(len(HEADER)) == HEADER:
            await script(reader, writer)

    return serve


async def test_an_application_that_expects_a_header_gets_one_that_says_nobody_calls() -> None:
    async with application(after_header(says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))) as port:
        result = await run_probe(HttpProbe(port), POD, proxy_protocol_ports=frozenset({port}))
    assert (result.status, result.body) == (200, b"ok")


async def test_the_header_comes_before_tls(tmp_path: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*write_files(tmp_path, TestAuthority().issue())[:2])

    def serve(listener: socket.socket) -> bytes:
        sock, _peer = listener.accept()
        header = sock.recv(len(HEADER), socket.MSG_WAITALL)
        with tls.wrap_socket(sock, server_side=True) as secured:
            secured.recv(4096)
            secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return header

    with socket.create_server((POD, 0)) as listener:
        port = listener.getsockname()[1]
        serving = asyncio.create_task(asyncio.to_thread(serve, listener))
        result = await run_probe(HttpProbe(port, scheme="HTTPS"), POD, proxy_protocol_ports=frozenset({port}))
        assert await serving == HEADER
    assert (result.status, result.body) == (200, b"ok")


async def test_a_tcp_probe_begins_with_the_header_too() -> None:
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        got.set_result(await reader.read(100))

    async with application(serve) as port:
        assert (await run_probe(TcpProbe(port), POD, proxy_protocol_ports=frozenset({port}))).status == 200
        assert await got == HEADER


@pytest.mark.parametrize("elsewhere", ["port", "host"])
async def test_another_port_and_another_host_get_no_header(elsewhere: str) -> None:
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.set_result(await reader.read(3))
        writer.close()

    host = "127.0.0.2" if elsewhere == "host" else POD
    async with await asyncio.start_server(serve, host, 0) as server:
        port = server.sockets[0].getsockname()[1]
        ports = frozenset({port + (elsewhere == "port")})
        await run_probe(HttpProbe(port, host=host), POD, proxy_protocol_ports=ports)
        assert await got == b"GET"


async def test_a_long_body_is_cut_as_kubelet_cuts_it() -> None:
    async with application(says("HTTP/1.1 200 OK\r\n\r\n" + "x" * 100_000)) as port:
        assert len((await run_probe(HttpProbe(port), POD)).body) == 10 * 1024


async def test_a_local_redirect_is_followed_and_its_end_is_the_answer() -> None:
    moved = "HTTP/1.1 301 Moved\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n"
    async with application(says(moved, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")) as port:
        assert (await run_probe(HttpProbe(port), POD)).status == 503


async def test_redirects_without_end_are_a_failure() -> None:
    moved = "HTTP/1.1 301 Moved\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"
    async with application(says(*[moved] * 20)) as port:
        result = await run_probe(HttpProbe(port), POD)
    assert (result.status, b"10 redirects" in result.body) == (503, True)


async def test_https_is_probed_without_verification(tmp_path: Path) -> None:
    certificate, key, _ = write_files(tmp_path, TestAuthority().issue())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    async with application(says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), server) as port:
        assert (await run_probe(HttpProbe(port, scheme="HTTPS"), POD)).body == b"ok"


async def test_garbage_instead_of_http_is_a_failure_with_a_sentence() -> None:
    async with application(says("SSH-2.0-OpenSSH\r\n\r\n")) as port:
        result = await run_probe(HttpProbe(port), POD)
    assert (result.status, b"no HTTP/1.1 response" in result.body) == (503, True)


@pytest.mark.parametrize("make", [HttpProbe, GrpcProbe])
async def test_an_application_that_does_not_answer_fails_in_the_probes_own_time(
    make: type[HttpProbe | GrpcProbe],
) -> None:
    async with application(silent) as port:
        result = await run_probe(make(port, timeout_s=1), POD)
    assert (result.status, b"within 1 s" in result.body) == (503, True)


async def test_a_tcp_probe_is_a_connection() -> None:
    async with application(silent) as port:
        assert (await run_probe(TcpProbe(port), POD)).status == 200
    with listen(POD, 0) as closed:
        port = closed.getsockname()[1]
    assert (await run_probe(TcpProbe(port), POD)).status == 503


@pytest.mark.parametrize(("health", "status"), [(1, 200), (2, 503)])
async def test_a_grpc_probe_passes_when_the_service_serves(health: int, status: int) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"/grpc.health.v1.Health/Check")
        message = struct.pack(">BI", 0, 2) + bytes((0x08, health))
        writer.write(frame(4, 0, 0, b"") + frame(1, 4, 1, b"\x88") + frame(0, 0, 1, message) + frame(1, 5, 1, b""))
        await reader.read()

    async with application(script) as port:
        assert (await run_probe(GrpcProbe(port), POD)).status == status


async def test_a_runner_knows_the_pods_probes_by_their_path() -> None:
    async with application(silent) as port:
        runner = ProbeRunner(ProbeTable({"/probe/app/liveness": TcpProbe(port)}), POD)
        answer = await runner("/probe/app/liveness")
        assert answer is not None
        assert answer.status == 200
        assert await runner("/probe/app/startup") is None


async def test_where_the_application_does_not_listen_on_the_pods_address_it_is_asked_on_loopback() -> None:
    async with application(says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as port:
        assert (await run_probe(HttpProbe(port), "127.0.0.2", POD, "::1")).status == 200
        assert (await run_probe(HttpProbe(port), "127.0.0.2", "::1")).status == 503
        assert (await run_probe(TcpProbe(port), "127.0.0.2", "::1", POD)).status == 200


async def test_an_application_that_answers_with_a_failure_is_not_asked_elsewhere() -> None:
    async with application(says("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")) as port:
        assert (await run_probe(HttpProbe(port), POD, "::1")).status == 500
