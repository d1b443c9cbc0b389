"""The admin port: `/healthz`, `/readyz`, `/metrics`, the rewritten probes, and `/debug/*` for the pod itself.

Anybody in the cluster can connect to it, so the one rule: it only ever reads, each connection carries one small
request within a deadline, and the number of connections is bounded in all and per source.
"""

import asyncio
import json
import logging
import socket
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Final

from handfast_sidecar.errors import BadInput
from handfast_sidecar.observe import table
from handfast_sidecar.observe.http_request import END_OF_HEAD, MAX_HEAD, Request, may_become_request, parse_request
from handfast_sidecar.observe.metrics import CONTENT_TYPE, Registry

log = logging.getLogger(__name__)

REQUEST_TIMEOUT_S: Final = 5.0
"""Seconds for the head of a request, and again for the answer to leave."""
HANDLER_TIMEOUT_S: Final = 310.0
"""Seconds for the answer to be made: probes bring deadlines of their own, and kubelet allows long ones."""
MAX_DRAINED: Final = 256 * 1024
"""Bytes taken from a client whose request was refused, so that it can read why (RFC 9112, section 9.6)."""
MAX_CONNECTIONS: Final = 256
MAX_CONNECTIONS_PER_SOURCE: Final = 64
"""kubelet is one source: it asks all probes of the pod from one address."""
_NO_BODY: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Readiness = Callable[[], Sequence[str]]
"""Sentences on why the sidecar is not ready; none: it is."""
ProbeHandler = Callable[[str], Awaitable[Answer | None]]
"""Runs the probe of a path; None: there is none."""


class _Refused(Exception):
    """A request that gets an error instead of an answer."""

    def __init__(self, reason: str, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.status = status


class AdminServer:
    """Serves the listening sockets of one port."""

    def __init__(
        self,
        registry: Registry,
        *,
        ready: Readiness,
        probe: ProbeHandler | None = None,
        debug: Mapping[str, Callable[[], Any]] | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        self._registry = registry
        self._ready = ready
        self._probe = probe
        self._debug = {"tasks": _tasks, **(debug or {})}
        self._timeout_s = timeout_s
        self._open: Tally[str] = Tally()
        self._servers: list[asyncio.Server] = []
        self._bad = table.ADMIN_BAD_REQUESTS.of(registry)

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Begin to serve bound sockets, one of each address family, which become the server's."""
        for sock in sockets:
            self._servers.append(await asyncio.start_server(self._serve, sock=sock, limit=MAX_HEAD))

    async def close(self) -> None:
        """Stop accepting; requests being answered end within their deadlines."""
        for server in self._servers:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source = str((writer.get_extra_info("peername") or ("unknown",))[0])
        if self._open.total() >= MAX_CONNECTIONS or self._open[source] >= MAX_CONNECTIONS_PER_SOURCE:
            self._note(_Refused("limit", HTTPStatus.SERVICE_UNAVAILABLE, "too many connections"), source)
            writer.transport.abort()
            return
        self._open[source] += 1
        try:
            await self._answer(reader, writer, source)
        except OSError:
            # The client went away: that is its own affair.
            pass
        finally:
            self._open[source] -= 1
            if not self._open[source]:
                del self._open[source]
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str) -> None:
        head_only = refused = False
        try:
            request = await self._read(reader)
            if request is None:
                return
            head_only = request.method == "HEAD"
            answer = await self._handle(request, source)
        except _Refused as error:
            self._note(error, source)
            answer = Answer(error.status, f"{error}\n".encode())
            refused = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                writer.write(_encode(answer, head_only=head_only))
                await writer.drain()
                if refused:
                    await _drain(reader, writer)

    def _note(self, refused: _Refused, source: str) -> None:
        self._bad.labels(refused.reason).inc()
        log.info(
            "request to the admin port refused",
            extra={"source": source, "reason": refused.reason, "detail": str(refused)},
        )

    async def _read(self, reader: asyncio.StreamReader) -> Request | None:
        """The request; None when the client only opened and closed, as TCP checks do."""
        head = b""
        try:
            async with asyncio.timeout(self._timeout_s):
                while END_OF_HEAD not in head:
                    chunk = await reader.read(MAX_HEAD)
                    if not chunk and not head:
                        return None
                    head += chunk
                    if not chunk:
                        raise _Refused("incomplete", HTTPStatus.BAD_REQUEST, "the request ended within its head")
                    if not may_become_request(head):
                        too_large = len(head) > MAX_HEAD
                        raise _Refused(
                            "too_large" if too_large else "not_http",
                            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if too_large else HTTPStatus.BAD_REQUEST,
                            f"the admin port reads HTTP/1.1 requests of at most {MAX_HEAD} bytes",
                        )
        except TimeoutError:
            raise _Refused("timeout", HTTPStatus.REQUEST_TIMEOUT, "the request did not arrive in time") from None
        try:
            return parse_request(head[: head.index(END_OF_HEAD) + len(END_OF_HEAD)])
        except BadInput as error:
            raise _Refused("not_http", HTTPStatus.BAD_REQUEST, str(error)) from error

    async def _handle(self, request: Request, source: str) -> Answer:
        if request.method not in {"GET", "HEAD"}:
            raise _Refused("method", HTTPStatus.METHOD_NOT_ALLOWED, "the admin port only answers GET and HEAD")
        try:
            async with asyncio.timeout(HANDLER_TIMEOUT_S):
                answer = await self._route(request.path, source)
        except TimeoutError:
            return Answer(HTTPStatus.GATEWAY_TIMEOUT, b"no answer in time\n")
        except Exception:
            # A bug in one page must show as a failed page, never as a dead server.
            log.exception("a page of the admin port failed", extra={"path": request.path})
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"failed: see the log\n")
        if answer is None:
            raise _Refused("not_found", HTTPStatus.NOT_FOUND, "there is nothing here")
        return answer

    async def _route(self, path: str, source: str) -> Answer | None:
        match path:
            case "/healthz":
                return Answer(HTTPStatus.OK, b"ok\n")
            case "/readyz":
                reasons = self._ready()
                text = "".join(f"{reason}\n" for reason in reasons) or "ready\n"
                return Answer(HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK, text.encode())
            case "/metrics":
                return Answer(HTTPStatus.OK, self._registry.render().encode(), CONTENT_TYPE)
            case _:
                return await self._route_by_name(path, source)

    async def _route_by_name(self, path: str, source: str) -> Answer | None:
        kind, _, name = path.removeprefix("/").partition("/")
        if kind == "probe" and self._probe is not None:
            return await self._probe(path)
        if kind == "debug" and is_loopback(source) and name in self._debug:
            text = json.dumps(self._debug[name](), indent=1, default=str)
            return Answer(HTTPStatus.OK, f"{text}\n".encode(), "application/json")
        return None


async def _drain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take what a refused client still sends: closing over unread bytes is a reset, which would eat the answer."""
    writer.write_eof()
    for _ in range(MAX_DRAINED // MAX_HEAD):
        if not await reader.read(MAX_HEAD):
            return


def is_loopback(address: str) -> bool:
    """Whether a peer's address is this pod's own loopback, also as an IPv4 address in IPv6 form."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback


def _encode(answer: Answer, *, head_only: bool) -> bytes:
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "Unknown"
    body = b"" if answer.status in _NO_BODY else answer.body
    head = (
        f"HTTP/1.1 {answer.status} {phrase}\r\nContent-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(body)}\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + (b"" if head_only else body)


def _tasks() -> list[str]:
    """What every task is waiting for."""
    return sorted(f"{task.get_name()}: {task.get_coro()!r}" for task in asyncio.all_tasks())
