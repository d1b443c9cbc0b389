"""The API server over HTTP, raw: dictionaries in, dictionaries out, and the server's own sentence when it says no.

Typed clients cost hundreds of megabytes at ten thousand pods. The one rule: every call has a deadline.
"""

import json
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from handfast_operator.cluster.access import Access, find_access

log = logging.getLogger(__name__)

Json = dict[str, Any]
FIELD_MANAGER: Final = "handfast-controller"
TIMEOUT_S: Final = 30.0
"""Seconds for one call that is no watch."""
WATCH_SILENCE_S: Final = 70.0
"""Seconds without a byte after which a watch is given up: bookmarks come about once a minute."""
MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
MAX_EVENT_BYTES: Final = 8 << 20


class ApiError(Exception):
    """The API server refused a call; `message` is its own sentence."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{message} ({status} {reason})")
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

    async def get(
        self, path: str, params: Mapping[str, str] | None = None, *, accept: str = "application/json"
    ) -> Json:
        """Read an object or a collection. Raises ApiError."""
        return await self._call("GET", path, params=params, headers={"Accept": accept})

    async def create(self, path: str, body: Json) -> Json:
        """Create an object in a collection. Raises ApiError."""
        return await self._call("POST", path, params=_AS_US, body=body)

    async def replace(self, path: str, body: Json) -> Json:
        """Write an object; with a resourceVersion in it, only over that version. Raises ApiError."""
        return await self._call("PUT", path, params=_AS_US, body=body)

    async def patch(self, path: str, body: Any, content_type: str = MERGE_PATCH) -> Json:
        """Change a part of an object. Raises ApiError."""
        return await self._call("PATCH", path, params=_AS_US, body=body, headers={"Content-Type": content_type})

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
            url, params={**params, "watch": "true"}, headers=headers, timeout=timeout
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

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        chosen = {"Content-Type": "application/json", **self._access.headers(), **(headers or {})}
        data = None if body is None else json.dumps(body).encode()
        async with self._session.request(
            method,
            self._access.url + path,
            params=params,
            data=data,
            headers=chosen,
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=10),
        ) as answer:
            if answer.status >= 400:
                raise await _error(answer)
            raw = await answer.read()
        try:
            found = json.loads(raw)
        except ValueError:
            return {"text": raw.decode(errors="replace")}
        return found if isinstance(found, dict) else {"value": found}


def new_session(access: Access, headers: Mapping[str, str] | None = None) -> aiohttp.ClientSession:
    """An HTTP session to the API server; the caller closes it."""
    connector = aiohttp.TCPConnector(ssl=access.tls if access.tls is not None else True, limit=64)
    return aiohttp.ClientSession(connector=connector, headers=headers, read_bufsize=1 << 20)


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
    try:
        status = json.loads(text)
        return ApiError(answer.status, str(status.get("reason", "")), str(status.get("message", text)))
    except (ValueError, AttributeError):
        return ApiError(answer.status, answer.reason or "", text[:500] or "no message")
