"""The admin port, over real sockets."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from handfast_sidecar.observe import admin
from handfast_sidecar.observe.admin import AdminServer, Answer, is_loopback
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.traffic.sockets import listen


@dataclass
class Port:
    """A running server and what it says."""

    number: int
    registry: Registry
    why_not_ready: list[str] = field(default_factory=list)

    async def ask(self, request: bytes, *, hold: bool = False) -> str:
        """Send bytes and read to the end; with `hold` the client's own side stays open."""
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.number)
            writer.write(request)
            if not hold:
                writer.write_eof()
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer.decode()

    async def get(self, path: str) -> tuple[int, str]:
        answer = await self.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), hold=True)
        head, _, body = answer.partition("\r\n\r\n")
        return int(head.split(" ")[1]), body

    def bad(self, reason: str) -> str:
        name = f'handfast_admin_bad_requests_total{{reason="{reason}"}} '
        return self.registry.render().partition(name)[2].partition("\n")[0]


async def probe(path: str) -> Answer | None:
    return Answer(418, b"teapot") if path == "/probe/app/liveness" else None


def broken() -> str:
    raise ValueError


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    registry, why = Registry(), list[str]()
    server = AdminServer(
        registry,
        ready=lambda: why,
        probe=probe,
        debug={"policy": lambda: {"mode": "Strict"}, "broken": broken},
        timeout_s=0.2,
    )
    sock = listen("127.0.0.1", 0)
    port = Port(sock.getsockname()[1], registry, why)
    await server.start([sock])
    yield port
    await server.close()


async def test_health_says_that_the_loop_turns(port: Port) -> None:
    assert await port.get("/healthz") == (200, "ok\n")


async def test_readiness_names_each_reason_why_not(port: Port) -> None:
    assert await port.get("/readyz") == (200, "ready\n")
    port.why_not_ready += ["the leaf has expired", "no listener"]
    assert await port.get("/readyz") == (503, "the leaf has expired\nno listener\n")


async def test_metrics_are_served_in_prometheus_format(port: Port) -> None:
    port.registry.gauge("handfast_tunnels", "Open tunnels.").set(3)
    status, body = await port.get("/metrics?x=1")
    assert status == 200
    assert "handfast_tunnels 3\n" in body


async def test_a_probes_status_passes_through(port: Port) -> None:
    assert await port.get("/probe/app/liveness") == (418, "teapot")
    assert (await port.get("/probe/app/readiness"))[0] == 404


async def test_debug_pages_are_shown_on_loopback(port: Port) -> None:
    status, body = await port.get("/debug/policy")
    assert (status, body) == (200, '{\n "mode": "Strict"\n}\n')
    assert (await port.get("/debug/tasks"))[0] == 200
    assert (await port.get("/debug/nothing"))[0] == 404


async def test_a_page_that_fails_is_a_failed_page_and_nothing_more(port: Port) -> None:
    assert (await port.get("/debug/broken"))[0] == 500
    assert (await port.get("/healthz"))[0] == 200


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("::ffff:10.0.0.1", False),
        ("unknown", False),
    ],
)
def test_debug_pages_are_for_the_pod_itself(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


@pytest.mark.parametrize(
    ("garbage", "reason", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", "not_http", 400),
        (b"A" * 10000, "too_large", 431),
        (b"GET / HTTP/2.0\r\n\r\n", "not_http", 400),
        (b"GET /\r\n\r\n", "not_http", 400),
        (b"GET http://x/ HTTP/1.1\r\n\r\n", "not_http", 400),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", "not_http", 400),
        (b"GET / HTTP/1.1\r\nX: \x00\r\n\r\n", "not_http", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 9000, "too_large", 431),
        (b"GET / HTTP/1.1\r\n", "timeout", 408),
        (b"POST /healthz HTTP/1.1\r\n\r\n", "method", 405),
    ],
)
async def test_bad_requests_are_refused_counted_and_cost_nobody_else(
    port: Port, garbage: bytes, reason: str, status: int
) -> None:
    assert (await port.ask(garbage, hold=True)).startswith(f"HTTP/1.1 {status} ")
    assert port.bad(reason) == "1"
    assert await port.get("/healthz") == (200, "ok\n")


async def test_a_request_cut_short_is_refused(port: Port) -> None:
    assert (await port.ask(b"GET / HTTP/1.1\r\n")).startswith("HTTP/1.1 400 ")
    assert port.bad("incomplete") == "1"


async def test_a_connection_that_asks_nothing_is_no_bad_request(port: Port) -> None:
    assert await port.ask(b"") == ""
    assert not re.search(r"reason=.* [1-9]", port.registry.render())


async def test_head_is_answered_without_a_body(port: Port) -> None:
    answer = await port.ask(b"HEAD /healthz HTTP/1.1\r\n\r\n", hold=True)
    assert answer.endswith("\r\n\r\n")
    assert "Content-Length: 3\r\n" in answer


async def test_connections_are_bounded_per_source(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "MAX_CONNECTIONS_PER_SOURCE", 1)
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
        assert await port.ask(b"", hold=True) == "", "one connection too many is closed without an answer"
        assert port.bad("limit") == "1"
        writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert (await reader.read()).endswith(b"ok\n")
        writer.close()
        await writer.wait_closed()


async def test_a_source_may_connect_again_when_its_connections_have_ended(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "MAX_CONNECTIONS_PER_SOURCE", 1)
    for _ in range(5):
        assert await port.get("/healthz") == (200, "ok\n")
