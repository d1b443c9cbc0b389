"""A pair of proxies under measurement, whoever made it: where to dial, and whose processor time and memory it is."""

from dataclasses import dataclass
from typing import Final

OURS: Final = "handfast"
DIRECT: Final = "direct"
"""No proxy at all: the limit of client, kernel and back end."""
SOCKETS: Final = "sockets"
"""One relay without TLS: the limit of any proxy, for it carries the applications' bytes over the same sockets."""
NOT_PEERS: Final = frozenset({OURS, DIRECT, SOCKETS, "openssl", "gnutls"})
YARDSTICK: Final = "haproxy"
"""What every other one is set beside."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Client-side and server-side proxy, each with one worker."""

    host: str
    port: int
    client: tuple[int, ...] = ()
    """Process ids of the client-side proxy; none for the direct connection."""
    server: tuple[int, ...] = ()

    @property
    def url(self) -> str:
        """The application's, as a client in the client's namespace dials it."""
        return f"http://{self.host}:{self.port}/"

    @property
    def pids(self) -> tuple[int, ...]:
        """Of both sides."""
        return self.client + self.server
