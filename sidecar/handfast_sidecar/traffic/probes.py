"""kubelet's probes, asked by the sidecar: kubelet has no leaf, so under `Strict` it cannot ask the application itself.

The one rule: the answer is the application's own. An HTTP status passes through; what kubelet would have seen as a
failure to connect, to answer in time or to serve becomes a 503 that says so. The proxy's own connections are not
redirected (its user is exempt), so they reach the application as kubelet's would; where it is told who calls, they
begin with the header that says "nobody".
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, assert_never

from handfast_sidecar.config.probes import GrpcProbe, HttpProbe, Probe, ProbeTable, TcpProbe
from handfast_sidecar.errors import BadFrame, BadInput
from handfast_sidecar.observe.admin import Answer
from handfast_sidecar.traffic import proxy_header
from handfast_sidecar.traffic.grpc_health import SERVING, HealthCheck
from handfast_sidecar.traffic.http_probe import (
    END_OF_HEAD,
    MAX_BODY,
    MAX_HEAD,
    MAX_REDIRECTS,
    ResponseHead,
    Target,
    dechunk,
    first_target,
    next_target,
    parse_head,
    request_bytes,
)

OK: Final = 200
FAILED: Final = 503
_CHUNK: Final = 16 * 1024
_NO_BODY: Final = frozenset({204, 304})
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What kubelet is told."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class _Pod:
    """Where probes are asked, and on which ports the application expects a PROXY header first."""

    ip: str
    proxy_protocol_ports: frozenset[int]

    def header(self, host: str, port: int) -> bytes:
        """What a probe begins with; one that is asked of another host meets another application."""
        own = port in self.proxy_protocol_ports and host in (self.ip, *_LOOPBACK)
        return proxy_header.LOCAL if own else b""


class ProbeRunner:
    """The probes of this pod, by the path they are served at."""

    def __init__(self, table: ProbeTable, *addresses: str, proxy_protocol_ports: frozenset[int] = frozenset()) -> None:
        """`addresses`: the pod's own IP, and where else the application may listen, if not there."""
        self._table = table
        self._addresses = addresses
        self._proxy_protocol_ports = proxy_protocol_ports

    async def __call__(self, path: str) -> Answer | None:
        """Run the probe of a path; None when there is none."""
        probe = self._table.probes.get(path)
        if probe is None:
            return None
        result = await run_probe(probe, *self._addresses, proxy_protocol_ports=self._proxy_protocol_ports)
        return Answer(result.status, result.body)


async def run_probe(probe: Probe, *addresses: str, proxy_protocol_ports: frozenset[int] = frozenset()) -> ProbeResult:
    """Ask the application within the probe's own time-out, at the first address that takes a connection."""
    *first, last = (_Pod(address, proxy_protocol_ports) for address in addresses)
    try:
        async with asyncio.timeout(max(1, probe.timeout_s)):
            for pod in first:
                with suppress(OSError):
                    return await _asked(probe, pod)
            return await _asked(probe, last)
    except TimeoutError:
        return _failed(f"no answer from port {probe.port} within {probe.timeout_s} s")
    except (OSError, BadInput) as error:
        return _failed(f"port {probe.port}: {error}")


async def _asked(probe: Probe, pod: _Pod) -> ProbeResult:
    match probe:
        case HttpProbe():
            return await _http(probe, pod)
        case TcpProbe():
            return await _tcp(probe, pod)
        case GrpcProbe():
            return await _grpc(probe, pod)
        case _:
            assert_never(probe)


def _failed(text: str) -> ProbeResult:
    return ProbeResult(FAILED, f"probe failed: {text}\n".encode())


async def _tcp(probe: TcpProbe, pod: _Pod) -> ProbeResult:
    async with _connected(pod, probe.host or pod.ip, probe.port):
        return ProbeResult(OK, b"connected\n")


async def _grpc(probe: GrpcProbe, pod: _Pod) -> ProbeResult:
    check = HealthCheck(probe.service, f"[{pod.ip}]:{probe.port}" if ":" in pod.ip else f"{pod.ip}:{probe.port}")
    async with _connected(pod, pod.ip, probe.port) as (reader, writer):
        writer.write(check.request)
        while check.status is None:
            data = await reader.read(_CHUNK)
            if not data:
                raise BadFrame("the server closed the connection without an answer")
            writer.write(check.receive(data))
            await writer.drain()
    if check.status == SERVING:
        return ProbeResult(OK, b"SERVING\n")
    return _failed(f"port {probe.port}: the service {probe.service!r} is {check.status_name}")


async def _http(probe: HttpProbe, pod: _Pod) -> ProbeResult:
    target = first_target(probe, pod.ip)
    for _ in range(MAX_REDIRECTS):
        head, body = await _get(probe, pod, target)
        following = next_target(target, head)
        if following is None:
            return ProbeResult(head.status, body)
        target = following
    return _failed(f"port {probe.port}: stopped after {MAX_REDIRECTS} redirects")


async def _get(probe: HttpProbe, pod: _Pod, target: Target) -> tuple[ResponseHead, bytes]:
    async with _connected(pod, target.host, target.port, tls=target.tls) as (reader, writer):
        writer.write(request_bytes(probe, target))
        data = bytearray()
        while True:
            head = await _read_head(reader, data)
            if head.status >= 200:
                return head, await _read_body(reader, head, data)


async def _read_head(reader: asyncio.StreamReader, data: bytearray) -> ResponseHead:
    """The next head, taken out of `data`."""
    while (end := data.find(END_OF_HEAD)) < 0:
        if len(data) > MAX_HEAD:
            raise BadInput(f"the answer's headers have more than {MAX_HEAD} bytes")
        chunk = await reader.read(_CHUNK)
        if not chunk:
            raise BadInput("the application closed the connection before it answered")
        data += chunk
    head = parse_head(bytes(data[: end + len(END_OF_HEAD)]))
    del data[: end + len(END_OF_HEAD)]
    return head


async def _read_body(reader: asyncio.StreamReader, head: ResponseHead, data: bytearray) -> bytes:
    """The body, or its beginning: it ends by its length, its last chunk, or the connection (RFC 9112 6.3)."""
    if head.status in _NO_BODY:
        return b""
    while True:
        body, complete = dechunk(bytes(data)) if head.chunked else (bytes(data), len(data) == head.length)
        if complete or len(body) >= MAX_BODY or len(data) > MAX_HEAD:
            return body[:MAX_BODY]
        chunk = await reader.read(_CHUNK)
        if not chunk:
            return body
        data += chunk


@asynccontextmanager
async def _connected(
    pod: _Pod, host: str, port: int, *, tls: bool = False
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that is gone afterwards, whatever the application does."""
    header = pod.header(host, port)
    reader, writer = await asyncio.open_connection(host, port, ssl=_unchecked() if tls and not header else None)
    try:
        if header:
            writer.write(header)
            if tls:
                await writer.start_tls(_unchecked(), server_hostname=host)
        yield reader, writer
    finally:
        # Not a polite close: waiting for the other side's part of it could take longer than the probe may.
        writer.transport.abort()


def _unchecked() -> ssl.SSLContext:
    """TLS without verification: a probe asks whether the application answers, not who it is; kubelet does the same."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
