"""Why a stream was refused: the server's first byte on it, and the word in logs and metrics (docs/protocol.md)."""

from enum import IntEnum, unique


@unique
class Reason(IntEnum):
    """The byte that answers a stream's preface."""

    CONNECTED = 0
    DENIED = 1
    """Policy does not let this identity connect to this port."""
    LIMIT = 2
    """The server's policy lets it have no more connections, or not so many new ones a second."""
    NOT_LOCAL = 3
    """The destination is not an address of the server's own pod: a sidecar is no open relay."""
    RESERVED_PORT = 4
    """The destination is one of the sidecar's own ports."""
    CONNECTION_REFUSED = 5
    """Nothing listens on the port."""
    UNREACHABLE = 6
    """The application did not accept within the dial time-out."""
    SHUTTING_DOWN = 7
    """The server drains: choose another endpoint."""
    BAD_PREFACE = 8
    """The stream did not begin with a PROXY protocol v2 header that names source and destination."""
    INTERNAL = 9
    """The server failed in a way of its own; its log says how."""

    @property
    def word(self) -> str:
        """As it stands in logs and in metric labels."""
        return self.name.lower()
