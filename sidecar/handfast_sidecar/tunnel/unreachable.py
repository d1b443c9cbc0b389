"""What to check when a peer's mesh port does not answer, by how the dial failed. Pure."""

import errno
from typing import Final

_PROHIBITED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EHOSTUNREACH, errno.ENETUNREACH})
"""How the kernel tells an ICMP "administratively prohibited" (icmp_err_convert, and its IPv6 sister), or a rule of the
pod's own node that rejects; an address that is gone looks the same."""


def no_answer(address: str, port: int, timeout_s: float) -> str:
    """Packets were dropped: what most NetworkPolicy implementations do."""
    return (
        f"no answer from {_at(address, port)} within {timeout_s:.0f} s: {_policy(port)}, "
        "where the peer's policies are for ingress and where this pod's are for egress"
    )


def dial_failed(address: str, port: int, error: OSError) -> str:
    """The dial ended with an error."""
    said = f"{_at(address, port)}: {error.strerror or error}"
    if error.errno == errno.ECONNREFUSED:
        return f"{said}: is the peer's sidecar running? Else {_policy(port)}"
    if error.errno in _PROHIBITED:
        return f"{said}: the peer is gone, or {_policy(port)}"
    return said


def _policy(port: int) -> str:
    return f"a NetworkPolicy that admits the application's port must admit {port}/TCP too"


def _at(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
