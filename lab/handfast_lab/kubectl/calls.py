"""HTTP calls to the API server, by the standard library: an import of aiohttp alone takes longer than most commands.

The one rule: whatever is refused is raised as the server said it, and nobody waits without an end for an answer.
"""

import http.client
import json
import socket
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedIOBase
from typing import Any, Final, TextIO
from urllib.parse import quote, urlencode, urlsplit

from handfast_lab.kubectl.refusals import Refusal, Stop, refusal
from handfast_operator.cluster.access import Access

Json = dict[str, Any]
Query = Mapping[str, Any]
JSON: Final = "application/json"
TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
ANSWER_S: Final = 60.0
"""Seconds without a byte of an answer, where --request-timeout names none: webhooks may take thirty."""


class Server:
    """One API server, as one user."""

    def __init__(self, access: Access, *, acting_as: str = "", timeout_s: float = 0, warn: TextIO = sys.stderr) -> None:
        """`acting_as`: the user to be impersonated; `warn`: where the server's warnings go."""
        self._access = access
        self._acting_as = acting_as
        self._timeout_s = timeout_s or ANSWER_S
        self._warn = warn
        self._warned: set[str] = set()
        self._kept: http.client.HTTPConnection | None = None
        self.host = urlsplit(access.url).netloc
        self._base = urlsplit(access.url).path

    def close(self) -> None:
        """Let go of the connection."""
        if self._kept is not None:
            self._kept.close()

    def ask(self, method: str, path: str, body: Any = None, *, query: Query | None = None,
            accept: str = JSON, content: str = JSON) -> Any:  # fmt: skip
        """A call with its whole answer, as JSON. Raises Refusal, Stop."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Accept": accept} | ({"Content-Type": content} if data is not None else {})
        return json.loads(self._exchange(method, target(path, query), data, headers))

    def text(self, path: str) -> str:
        """A GET of whatever it is. Raises Refusal, Stop."""
        return self._exchange("GET", path, None, {"Accept": "application/json, */*"}).decode(errors="replace")

    def lines(self, path: str, query: Query, *, accept: str = JSON, deadline: float | None = None) -> Generator[bytes]:
        """A GET whose answer goes on, until the server ends it or goes away.

        Raises Refusal, Stop; TimeoutError at `deadline`, of `time.monotonic()`.
        """
        connection = self._connect()
        try:
            with self._reaching():
                connection.request(
                    "GET", self._base + target(path, query), headers=self._headers() | {"Accept": accept}
                )
            taken = connection.sock
            taken.settimeout(_left(deadline))
            response = connection.getresponse()
            if response.status >= 400:
                raise refusal(response.status, response.read())
            while line := response.readline():
                yield line
                taken.settimeout(_left(deadline))
        except (ConnectionError, http.client.HTTPException):
            return
        finally:
            connection.close()

    @contextmanager
    def upgraded(
        self, path: str, query: Query, headers: Mapping[str, str]
    ) -> Iterator[tuple[BufferedIOBase, socket.socket]]:
        """What becomes of a connection that is to be no HTTP any more, to read and to write. Raises Refusal, Stop."""
        connection = self._connect()
        try:
            with self._reaching():
                connection.request("GET", self._base + target(path, query), headers=self._headers() | dict(headers))
                taken = connection.sock
                response = connection.getresponse()
            if response.status != http.client.SWITCHING_PROTOCOLS:
                raise refusal(response.status, response.read())
            # Not the socket's own reader: what came right behind the headers is in the answer's buffer already.
            yield response.fp, taken
        finally:
            connection.close()

    def _exchange(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> bytes:
        for fresh in (self._kept is None, True):
            connection = self._kept = self._kept or self._connect()
            with self._reaching():
                try:
                    connection.request(method, self._base + path, data, self._headers() | dict(headers))
                    response = connection.getresponse()
                    content = response.read()
                except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                    # A connection that was kept may have been closed meanwhile: ask once more, over a new one.
                    connection.close()
                    self._kept = None
                    if fresh:
                        raise
                    continue
            self._pass_warnings(response)
            if response.status >= 400:
                raise refusal(response.status, content)
            return content
        raise AssertionError("the second round returns or raises")

    def _connect(self) -> http.client.HTTPConnection:
        if self._access.url.startswith("http:"):
            return http.client.HTTPConnection(self.host, timeout=self._timeout_s)
        return http.client.HTTPSConnection(self.host, timeout=self._timeout_s, context=self._access.tls)

    def _headers(self) -> dict[str, str]:
        acting = {"Impersonate-User": self._acting_as} if self._acting_as else {}
        return self._access.headers() | acting | {"User-Agent": "kubectl/handfast-lab"}

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except ConnectionRefusedError:
            raise Stop(
                f"The connection to the server {self.host} was refused - did you specify the right host or port?"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise Stop(f"Unable to connect to the server: {str(error) or type(error).__name__}") from error

    def _pass_warnings(self, response: http.client.HTTPResponse) -> None:
        for each in response.headers.get_all("Warning") or ():
            text = each.split(" ", 2)[-1].strip('"').replace('\\"', '"')
            if text not in self._warned:
                self._warned.add(text)
                self._warn.write(f"Warning: {text}\n")


def target(path: str, query: Query | None) -> str:
    """What the request line says; lists are repeated, and what is empty is left out."""
    given = {name: value for name, value in (query or {}).items() if value not in ("", None)}
    return path + (f"?{urlencode(given, doseq=True)}" if given else "")


def segment(name: str) -> str:
    """A name within a path."""
    return quote(name, safe=":")


def absent(problem: Refusal) -> bool:
    """Whether the object is simply not there."""
    return problem.reason == "NotFound"


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    if (left := deadline - time.monotonic()) <= 0:
        raise TimeoutError
    return left
