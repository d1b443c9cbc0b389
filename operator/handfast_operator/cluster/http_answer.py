"""One HTTP/1.1 answer from the bytes of a connection that is only for it (RFC 9112). Pure.

For ports of pods that are reached by way of the API server, where no HTTP library has a socket to read.
"""

import io
import re
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any, Final, cast

from handfast_sidecar.errors import BadInput

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,12})[ \t]*\r\n", re.IGNORECASE)
_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """A status code, and what came with it."""

    status: int
    body: bytes


def request(path: str) -> bytes:
    """A GET after whose answer the server closes."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nConnection: close\r\n\r\n".encode()


def is_whole(data: bytes | bytearray) -> bool:
    """Whether the answer is known to be all there; one without a length is when the connection ends."""
    head = data.find(_END)
    if head < 0:
        return False
    length = _LENGTH.search(data, 0, head + 2)
    return length is not None and len(data) - head - len(_END) >= int(length[1])


def parse(data: bytes | bytearray) -> Answer:
    """Raises BadInput where it is no whole answer."""
    try:
        response = HTTPResponse(cast("Any", _Held(bytes(data))))
        response.begin()
        return Answer(response.status, response.read())
    except (HTTPException, ValueError) as error:
        raise BadInput(f"no HTTP answer, or a part of one ({type(error).__name__})") from error


class _Held:
    """What http.client wants of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)
