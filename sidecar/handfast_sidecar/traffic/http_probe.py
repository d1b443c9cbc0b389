"""An HTTP probe as kubelet makes it, sans-I/O: the request's bytes, the response's head, and which redirects to follow.

The precedent is k8s.io/kubernetes/pkg/probe/http: default headers, `Host` from the list of headers, no certificate
checks, up to ten redirects, and only to the host that was asked; any other redirect counts as an answer.
"""

import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from handfast_sidecar.config.probes import HttpProbe
from handfast_sidecar.errors import BadInput

MAX_REDIRECTS: Final = 10
MAX_BODY: Final = 10 * 1024
"""Bytes of the answer that are kept, as kubelet does: it is shown in an Event."""
MAX_HEAD: Final = 64 * 1024
END_OF_HEAD: Final = b"\r\n\r\n"
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?")
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Target:
    """Where one request goes."""

    tls: bool
    host: str
    port: int
    path: str
    """With its query."""

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{_bracketed(self.host)}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What a response says before its body."""

    status: int
    location: str = ""
    length: int | None = None
    chunked: bool = False


def first_target(probe: HttpProbe, pod_ip: str) -> Target:
    """What kubelet would have asked."""
    path = probe.path if probe.path.startswith("/") else f"/{probe.path}"
    return Target(probe.scheme.upper() == "HTTPS", probe.host or pod_ip, probe.port, _escaped(path))


def next_target(target: Target, response: ResponseHead) -> Target | None:
    """Where a redirect leads, when it stays on the same host; None: the response is the answer."""
    if response.status not in {301, 302, 303, 307, 308} or not response.location:
        return None
    try:
        url: SplitResult = urlsplit(urljoin(target.url, response.location))
        port = url.port or (443 if url.scheme == "https" else 80)
    except ValueError:
        return None
    if url.scheme not in {"http", "https"} or url.hostname != target.host.lower():
        return None
    path = _escaped(url.path or "/") + (f"?{_escaped(url.query)}" if url.query else "")
    return replace(target, tls=url.scheme == "https", port=port, path=path)


def request_bytes(probe: HttpProbe, target: Target) -> bytes:
    """The request, with the probe's own headers first; a header that is empty is not sent at all."""
    own = {name.lower() for name, _ in probe.headers}
    host = next((value for name, value in probe.headers if name.lower() == "host" and value), "")
    lines = [f"GET {target.path} HTTP/1.1", f"Host: {host or _authority(target)}", "Connection: close"]
    for name, value in (("User-Agent", "kube-probe/handfast"), ("Accept", "*/*")):
        if name.lower() not in own:
            lines.append(f"{name}: {value}")
    for name, value in probe.headers:
        if value and name.lower() not in {"host", "connection"}:
            lines.append(f"{name}: {value}")
    if any("\r" in line or "\n" in line for line in lines):
        raise BadInput("a header of the probe contains a line break")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


def parse_head(head: bytes) -> ResponseHead:
    """Read a response's head; raises BadInput for what is no HTTP/1.1 response."""
    first, *lines = head.removesuffix(END_OF_HEAD).split(b"\r\n")
    match = _STATUS_LINE.fullmatch(first)
    if match is None:
        raise BadInput(f"the answer is no HTTP/1.1 response: {first[:80]!r}")
    headers = {}
    for line in lines:
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip().decode("latin-1")
    length = headers.get(b"content-length", "")
    return ResponseHead(
        status=int(match[1]),
        location=headers.get(b"location", ""),
        length=int(length) if re.fullmatch("[0-9]{1,18}", length) else None,
        chunked=headers.get(b"transfer-encoding", "").lower().endswith("chunked"),
    )


def dechunk(data: bytes) -> tuple[bytes, bool]:
    """As much of a chunked body as has arrived (RFC 9112 7.1), and whether that was all of it."""
    body, position = bytearray(), 0
    while (end := data.find(b"\r\n", position)) >= 0:
        size_text = data[position:end].partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", size_text):
            raise BadInput(f"the answer's chunk has no size: {size_text[:20]!r}")
        size = int(size_text, 16)
        if size == 0:
            return bytes(body), True
        body += data[end + 2 : end + 2 + size]
        position = end + 2 + size + 2
    return bytes(body), False


def _authority(target: Target) -> str:
    return f"{_bracketed(target.host)}:{target.port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _escaped(path: str) -> str:
    """Percent-encode what may not stand in a request line, and leave what is encoded already."""
    return _UNSAFE.sub(lambda match: "".join(f"%{octet:02X}" for octet in match[0].encode()), path)
