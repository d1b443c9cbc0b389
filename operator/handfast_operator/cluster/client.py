"""The API server over HTTP, raw: dictionaries in, dictionaries out, and the server's own sentence when it says no.

Typed clients cost hundreds of megabytes at ten thousand pods. The one rule: every call has a deadline.
"""

import asyncio
import json
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp

from handfast_operator.cluster.access import Access, find_access

log = logging.getLogger(__name__)

Json = dict[str, Any]
FIELD_MANAGER: Final = "handfast-controller"
TIMEOUT_S: Final = 30.0
"""Seconds for one call that is no watch."""
WATCH_SILENCE_S: Final = 70.0
"""Seconds without a byte after which a watch is given up: bookmarks come about once a minute."""
CLOSE_S: Final = 1.0
"""Seconds that one who ends a WebSocket waits for the server to do the same."""
MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
MAX_EVENT_BYTES: Final = 8 << 20


class ApiError(Exception):
    """The API server refused a call; `message` is its own sentence.

    `retry_after_s`: seconds that it asks us to leave it alone (429 and 503: RFC 9110, section 10.2.3); 0: it does not.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after_s: int = 0) -> None:
        super().__init__(f"{message} ({status} {reason})")
        self.retry_after_s = retry_after_s
        self.status = status
        self.reason = reason
        self.message = message


class ApiClient:
    """Calls of one process."""

    def __init__(self, session: aiohttp.ClientSession, access: Access) -> None:
        self._session = session
        self._access = access

    @classmethod
    @asynccontextmanager
    async def connect(cls, access: Access | None = None) -> "AsyncIterator[ApiClient]":
        """A client for the cluster we run in, or the one that KUBECONFIG names."""
        found = access or find_access(os.environ)
        async with new_session(found) as session:
            yield cls(session, found)

    @property
    def url(self) -> str:
        """Of the API server."""
        return self._access.url

    @property
    def access(self) -> Access:
        """How it is reached."""
        return self._access

    async def get(
        self, path: str, params: Mapping[str, str] | None = None, *, accept: str = "application/json"
    ) -> Json:
        """Read an object or a collection. Raises ApiError."""
        return await self._call("GET", path, params=params, headers={"Accept": accept})

    async def text(self, path: str, params: Mapping[str, str] | None = None) -> str:
        """Read what is no object, such as a log. Raises ApiError."""
        raw = await self._raw("GET", path, params=params, headers={"Accept": "*/*"})
        return raw.decode(errors="replace")

    async def create(self, path: str, body: Json, *, manager: str = FIELD_MANAGER, dry_run: bool = False) -> Json:
        """Create an object in a collection, as this field manager; `dry_run`: without keeping it. Raises ApiError."""
        params = {"fieldManager": manager} | ({"dryRun": "All"} if dry_run else {})
        return await self._call("POST", path, params=params, body=body)

    async def date(self) -> datetime | None:
        """By the server's own clock, to the second; None where it does not tell (RFC 9110, section 6.6.1)."""
        url, timeout = f"{self._access.url}/version", aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=10)
        name = self._access.server_name or None
        async with self._session.get(
            url, headers=self._access.headers(), timeout=timeout, server_hostname=name
        ) as answer:
            try:
                return parsedate_to_datetime(answer.headers.get("Date", ""))
            except ValueError:
                return None

    async def replace(self, path: str, body: Json) -> Json:
        """Write an object; with a resourceVersion in it, only over that version. Raises ApiError."""
        return await self._call("PUT", path, params=_AS_US, body=body)

    async def patch(
        self, path: str, body: Any, content_type: str = MERGE_PATCH, *, manager: str = FIELD_MANAGER
    ) -> Json:
        """Change a part of an object, as this field manager. Raises ApiError."""
        headers = {"Content-Type": content_type}
        return await self._call("PATCH", path, params={"fieldManager": manager}, body=body, headers=headers)

    async def delete(self, path: str, *, uid: str = "") -> None:
        """Delete an object, with a UID only that one; one that is gone already is no error. Raises ApiError."""
        body: Json = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            await self._call("DELETE", path, body=body)
        except ApiError as error:
            if error.status != 404:
                raise

    async def watch(
        self,
        path: str,
        params: Mapping[str, str],
        *,
        accept: str = "application/json",
        opened: Callable[[], object] = lambda: None,
    ) -> AsyncGenerator[Json]:
        """Events until the server ends the watch. Raises ApiError, TimeoutError on silence, or ClientError.

        `opened` is called when the server has accepted the watch, which may be long before its first event.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=WATCH_SILENCE_S)
        headers = {**self._access.headers(), "Accept": accept}
        url = self._access.url + path
        async with self._session.get(
            url,
            params={**params, "watch": "true"},
            headers=headers,
            timeout=timeout,
            server_hostname=self._access.server_name or None,
        ) as answer:
            if answer.status >= 400:
                raise await _error(answer)
            opened()
            try:
                async for line in _lines(answer.content):
                    yield json.loads(line)
            finally:
                # One who leaves in the middle has nothing to wait for: a polite end of TLS needs the server's answer.
                if answer.connection is not None and answer.connection.transport is not None:
                    answer.connection.transport.abort()

    @asynccontextmanager
    async def websocket(
        self, path: str, params: Mapping[str, str], protocol: str, *, timeout_s: float = TIMEOUT_S
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A connection that speaks `protocol`, such as pods/portforward. Raises ApiError, ClientError."""
        try:
            async with asyncio.timeout(timeout_s):
                socket = await self._session.ws_connect(
                    self._access.url + path,
                    params=params,
                    headers=self._access.headers(),
                    protocols=(protocol,),
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
                    server_hostname=self._access.server_name or None,
                )
        except aiohttp.WSServerHandshakeError as refused:
            raise ApiError(refused.status, "", f"{refused.message or 'no WebSocket'} for {path}") from refused
        connection = socket._conn  # noqa: SLF001 - aiohttp names the transport of a WebSocket nowhere else
        transport = connection.transport if connection is not None else None
        try:
            async with socket:
                if socket.protocol != protocol:
                    raise ApiError(200, "", f"the API server speaks no {protocol} for {path}")
                yield socket
        finally:
            # As with a watch: a polite end of TLS would outlive the loop of a command that has its answer.
            if transport is not None:
                transport.abort()

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        raw = await self._raw(method, path, params=params, body=body, headers=headers)
        try:
            found = json.loads(raw)
        except ValueError:
            return {"text": raw.decode(errors="replace")}
        return found if isinstance(found, dict) else {"value": found}

    async def _raw(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        chosen = {"Content-Type": "application/json", **self._access.headers(), **(headers or {})}
        data = None if body is None else json.dumps(body).encode()
        async with self._session.request(
            method,
            self._access.url + _with_query(path, params),
            data=data,
            headers=chosen,
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=10),
            server_hostname=self._access.server_name or None,
        ) as answer:
            if answer.status >= 400:
                raise await _error(answer)
            return await answer.read()


def new_session(access: Access, headers: Mapping[str, str] | None = None) -> aiohttp.ClientSession:
    """An HTTP session to the API server; the caller closes it."""
    connector = aiohttp.TCPConnector(ssl=access.tls if access.tls is not None else True, limit=64)
    # An API server sets no cookies, so none are looked for.
    jar = aiohttp.DummyCookieJar()
    return aiohttp.ClientSession(connector=connector, headers=headers, read_bufsize=1 << 20, cookie_jar=jar)


def _with_query(path: str, params: Mapping[str, str] | None) -> str:
    """Written out: as `params`, which yarl weaves into the URL, they cost a fifth of a call."""
    if not params:
        return path
    return f"{path}{'&' if '?' in path else '?'}{urlencode(params)}"


_AS_US: Final = {"fieldManager": FIELD_MANAGER}


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length up to MAX_EVENT_BYTES: aiohttp's own reader stops at its buffer's size."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line
        if len(rest) > MAX_EVENT_BYTES:
            raise ApiError(500, "EventTooLarge", f"an event of more than {MAX_EVENT_BYTES} bytes")


async def _error(answer: aiohttp.ClientResponse) -> ApiError:
    """What the server said: a Status object where it is one."""
    text = await answer.text(errors="replace")
    asked = answer.headers.get("Retry-After", "")
    # It may also be a date; API servers send seconds.
    retry_after_s = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 0
    try:
        status = json.loads(text)
        return ApiError(answer.status, str(status.get("reason", "")), str(status.get("message", text)), retry_after_s)
    except (ValueError, AttributeError):
        return ApiError(answer.status, answer.reason or "", text[:500] or "no message", retry_after_s)
