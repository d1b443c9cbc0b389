"""A process in the client's namespace that opens connections and lets them lie.

`python -m handfast_bench.opener HOST PORT`: each line on stdin is a number of connections; when so many are open from
end to end, each having had one answer from the application, it prints the number. They close when it ends.
"""

import socket
import sys

REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
BODY_END = b"hello world\n"
_AT_ONCE = 50
_PATIENCE_S = 10.0


def answered(sock: socket.socket) -> None:
    """Read one whole answer. Raises ConnectionError."""
    received = b""
    while not received.endswith(BODY_END):
        piece = sock.recv(4096)
        if not piece:
            raise ConnectionError(f"closed after {received!r}")
        received += piece


def _open(address: tuple[str, int], count: int) -> list[socket.socket]:
    opened = [socket.create_connection(address, timeout=_PATIENCE_S) for _ in range(count)]
    for each in opened:
        each.sendall(REQUEST)
    for each in opened:
        answered(each)
    return opened


def main() -> None:
    """Until stdin ends."""
    address = (sys.argv[1], int(sys.argv[2]))
    held: list[socket.socket] = []
    for line in sys.stdin:
        wanted = int(line)
        while len(held) < wanted:
            held += _open(address, min(_AT_ONCE, wanted - len(held)))
        print(wanted, flush=True)  # noqa: T201 - whoever started us waits for it


if __name__ == "__main__":
    main()
