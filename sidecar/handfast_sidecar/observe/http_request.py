"""The little HTTP that the admin port understands: the head of one GET or HEAD request (RFC 9112, section 2)."""

import re
from dataclasses import dataclass
from typing import Final

from handfast_sidecar.errors import BadInput

MAX_HEAD: Final = 8 * 1024
"""Bytes of request line and headers; kubelet and Prometheus send a few hundred."""
END_OF_HEAD: Final = b"\r\n\r\n"
_REQUEST_LINE: Final = re.compile(rb"([A-Z]{1,16}) (/[\x21-\x7e]{0,2047}) HTTP/1\.[01]")
_HEADER: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for."""

    method: str
    path: str
    """Without its query."""


def may_become_request(head: bytes) -> bool:
    """Whether these first bytes can still be the beginning of a request: garbage is refused at its first byte."""
    return len(head) <= MAX_HEAD and b"A" <= head[:1] <= b"Z"


def parse_request(head: bytes) -> Request:
    """Read a head, its empty line included; raises BadInput."""
    lines = head.removesuffix(END_OF_HEAD).split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(lines[0])
    if match is None:
        raise BadInput(f"this is no HTTP/1.1 request: {lines[0][:80]!r}")
    for line in lines[1:]:
        if not _HEADER.fullmatch(line):
            raise BadInput(f"this is no header: {line[:80]!r}")
    return Request(match[1].decode("ascii"), match[2].decode("ascii").partition("?")[0])
