"""The API server over HTTP, raw: dictionaries in, dictionaries out, and the server's own sentence when it says no.

Typed clients cost hundreds of megabytes at ten thousand pods. The one rule: every call has a deadline.
"""

import base64
import json
import logging
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

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
_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ApiError(Exception):
    """The API server refused a call; `message` is its own sentence."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{message} ({status} {reason})")
        self.status = status
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API server is and how we prove who we are."""

    url: str
    tls: ssl.SSLContext | None
    token_file: Path | None = None
    token: str = ""

    def headers(self) -> dict[str, str]:
        """Read anew for each call: kubelet exchanges the token every hour."""
        token = self.token_file.read_text().strip() if self.token_file is not None else self.token
        return {"Authorization": f"Bearer {token}"} if token else {}


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
            async for line in _lines(answer.content):
                yield json.loads(line)

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


def find_access(environment: Mapping[str, str]) -> Access:
    """From the pod's service account, or from the file that KUBECONFIG names. Raises ApiError with what is missing."""
    path = environment.get("KUBECONFIG")
    if path:
        return _from_kubeconfig(Path(path))
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (_ACCOUNT / "token").exists():
        raise ApiError(0, "NoCluster", "neither in a pod with a service account nor is KUBECONFIG set: set KUBECONFIG")
    tls = _trusting((_ACCOUNT / "ca.crt").read_text())
    return Access(f"https://{f'[{host}]' if ':' in host else host}:{port}", tls, token_file=_ACCOUNT / "token")


def _from_kubeconfig(path: Path) -> Access:
    """The current context; client certificates and tokens, as files or inline."""
    document = yaml.safe_load(path.read_text())
    by_name = {
        kind: {each["name"]: each for each in document.get(kind) or ()} for kind in ("contexts", "clusters", "users")
    }
    context = by_name["contexts"][document["current-context"]]["context"]
    cluster, user = by_name["clusters"][context["cluster"]]["cluster"], by_name["users"][context["user"]]["user"]
    authority = _content(cluster, "certificate-authority", path)
    tls = _trusting(authority.decode())
    certificate, key = _content(user, "client-certificate", path), _content(user, "client-key", path)
    if certificate and key:
        _load_chain(tls, certificate, key)
    return Access(cluster["server"].rstrip("/"), tls, token=user.get("token", ""))


def _trusting(authority: str) -> ssl.SSLContext:
    """A context for the API server, whose certificate is the cluster's affair and not ours.

    Python 3.13 checks strictly by default, and many clusters' own certificates lack an AuthorityKeyIdentifier.
    """
    tls = ssl.create_default_context(cadata=authority or None)
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return tls


def _content(section: Mapping[str, Any], name: str, beside: Path) -> bytes:
    if f"{name}-data" in section:
        return base64.b64decode(section[f"{name}-data"])
    return (beside.parent / section[name]).read_bytes() if name in section else b""


def _load_chain(tls: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """`ssl` takes paths alone; the key reaches no disk."""
    descriptor = os.memfd_create("handfast", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, certificate + b"\n" + key)
        tls.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
