"""The sidecar's errors, each with what the reader should do.

HandfastError
 +- BadInput            what was given does not have the documented form: fix the named field
 |   +- BadSpiffeId     an identity outside the SPIFFE ID grammar
 |   +- BadConfig       config.json or the environment of the container: the operator wrote it, so report it
 |   +- BadMessage      a line of the directory protocol: the other side is of an unknown version, or not ours
 |   +- BadFrame        a yamux frame or a PROXY header: the tunnel ends, nothing else; `reason` is the metric's label
 |       +- OtherVersion  a peer with whom no version of the tunnel is in common: the message says who is too old
 +- BadCertificate      a leaf, key or bundle that must not be used; `reason` is the metric's label
 +- HandshakeFailed     no tunnel: `reason` is the metric's label, the message says what to check
 +- StreamRefused       the peer answered, and said no: `reason` is a `tunnel.reasons.Reason`
"""

from collections.abc import Iterator

from handfast_sidecar.versions import NO_COMMON_VERSION


class HandfastError(Exception):
    """Any failure that this project names itself."""


class BadInput(HandfastError):
    """A value at a border does not have the documented form."""


class BadSpiffeId(BadInput):
    """A string that is no SPIFFE ID (SPIFFE-ID, section 2)."""


class BadConfig(BadInput):
    """config.json, or the environment the container was started with."""


class BadMessage(BadInput):
    """A line of the directory protocol that cannot be understood."""


class BadFrame(BadInput):
    """Bytes on a tunnel that are no yamux frame or no PROXY protocol header."""

    reason = "protocol_error"


class OtherVersion(BadFrame):
    """A hello from which no common version follows."""

    reason = NO_COMMON_VERSION


class BadCertificate(HandfastError):
    """A certificate, key or bundle that must not be used; `reason` is a stable word for metrics."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class HandshakeFailed(HandfastError):
    """A TLS handshake that did not end in a tunnel; `reason` is a stable word for metrics."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group, however deep: a task group in a task group makes a group in a group."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error
