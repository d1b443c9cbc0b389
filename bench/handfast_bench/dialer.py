"""A process in the client's namespace that dials again and again, and times each connection to its first byte.

`python -m handfast_bench.dialer MODE COUNT HOST PORT [IDENTITY NAME]` prints a JSON list of microseconds. `plain` is
how an application dials through a pair of proxies; the other modes are applications with TLS of their own.
"""

import json
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from handfast_bench.gnutls import GnuTls

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
WARM_UP = 10
Dial = Callable[[], bytes]
"""A fresh connection, a request, and the first bytes of the answer."""


@contextmanager
def _connected(address: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def plain(address: tuple[str, int]) -> Dial:
    """TCP, and no more."""

    def dial() -> bytes:
        with _connected(address) as sock:
            sock.sendall(REQUEST)
            return sock.recv(4096)

    return dial


def openssl(address: tuple[str, int], identity: Path, name: str, *, resume: bool) -> Dial:
    """Mutual TLS 1.3 by Python's own ssl; resumed by the last connection's ticket, never by 0-RTT."""
    context = ssl.create_default_context(cafile=identity / "ca.crt")
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(identity / "tls.crt", identity / "tls.key")
    last: list[ssl.SSLSession] = []

    def dial() -> bytes:
        session = last[-1] if last else None
        with _connected(address) as sock, context.wrap_socket(sock, server_hostname=name, session=session) as tls:
            if session is not None and not tls.session_reused:
                raise ConnectionError("the server did not resume the session")
            tls.sendall(REQUEST)
            answer = tls.recv(4096)
            if resume and tls.session is not None:
                last[:] = [tls.session]
            return answer

    return dial


def gnutls(address: tuple[str, int], identity: Path, name: str, *, false_start: bool) -> Dial:
    """TLS 1.2 by GnuTLS, without a client certificate: see the module `gnutls`."""
    library = GnuTls(identity / "ca.crt")

    def dial() -> bytes:
        with _connected(address) as sock:
            sock.settimeout(None)  # GnuTLS reads the descriptor itself and takes EAGAIN for an error
            return library.exchange(sock, name, REQUEST, false_start=false_start)

    return dial


def main() -> None:
    """Dial, and print."""
    mode, count, host, port, *rest = sys.argv[1:]
    address = (host, int(port))
    if mode == "plain":
        dial = plain(address)
    else:
        identity, name = Path(rest[0]), rest[1]
        dial = {
            "tls13-full": lambda: openssl(address, identity, name, resume=False),
            "tls13-resumed": lambda: openssl(address, identity, name, resume=True),
            "tls12-full": lambda: gnutls(address, identity, name, false_start=False),
            "tls12-false-start": lambda: gnutls(address, identity, name, false_start=True),
        }[mode]()
    times = []
    for _ in range(WARM_UP + int(count)):
        began = time.perf_counter_ns()
        answer = dial()
        times.append((time.perf_counter_ns() - began) / 1000)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"not the application's answer: {answer!r}")
    print(json.dumps(times[WARM_UP:]))  # noqa: T201 - whoever started us reads it


if __name__ == "__main__":
    main()
