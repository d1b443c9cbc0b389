"""One connection to a replica of the directory, on which it tells what it knows: `handfast-evidence/1`.

The one rule: nothing is believed before the other side has proved to be the directory, by the exact SPIFFE ID that
sidecars ask for too. Evidence decides when plaintext is refused, so a forged one would keep the door open.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from typing import Final

from handfast_operator.evidence.changes import MAX_LINE
from handfast_sidecar.errors import HandfastError, HandshakeFailed
from handfast_sidecar.identity.contexts import check_directory_peer, stream_failure
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.wellknown import ALPN_EVIDENCE

CONNECT_S: Final = 10.0
SILENCE_S: Final = 30.0
"""Seconds without a line after which a replica is given up: several of its rounds."""


class EvidenceLost(HandfastError):
    """There is no connection to a replica, or no longer; `reason` is the metric's label."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


async def lines(address: str, port: int, context: ssl.SSLContext, directory: SpiffeId) -> AsyncGenerator[bytes, None]:
    """What the replica at an address says, until it ends. Raises EvidenceLost."""
    reader, writer = await _connect(address, port, context)
    try:
        _check(writer.get_extra_info("ssl_object"), directory)
        while True:
            yield await _line(reader, address)
    finally:
        writer.transport.abort()


async def _connect(
    address: str, port: int, context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        async with asyncio.timeout(CONNECT_S):
            return await asyncio.open_connection(address, port, ssl=context, server_hostname="", limit=MAX_LINE)
    except TimeoutError as error:
        raise EvidenceLost("timeout", f"{address}:{port} did not answer in {CONNECT_S:.0f} s") from error
    except ssl.SSLError as error:
        failure = stream_failure(error)
        raise EvidenceLost(failure.reason, f"TLS with {address}:{port} failed: {failure}") from error
    except OSError as error:
        raise EvidenceLost(
            "unreachable", f"{address}:{port} cannot be reached: {error}; does a NetworkPolicy keep the controller out?"
        ) from error


def _check(connection: ssl.SSLObject, directory: SpiffeId) -> None:
    try:
        leaf = check_directory_peer(connection, directory.trust_domain, ALPN_EVIDENCE).leaf
    except HandshakeFailed as error:
        raise EvidenceLost(error.reason, str(error)) from error
    if leaf.spiffe_id != directory:
        raise EvidenceLost("wrong_identity", f"it is {leaf.spiffe_id}, the directory is {directory}")


async def _line(reader: asyncio.StreamReader, address: str) -> bytes:
    try:
        async with asyncio.timeout(SILENCE_S):
            line = await reader.readline()
    except TimeoutError as error:
        raise EvidenceLost("silent", f"nothing was heard from {address} for {SILENCE_S:.0f} s") from error
    except ssl.SSLError as error:
        # In TLS 1.3 a client learns only with its first read that the server refused its certificate.
        raise EvidenceLost("refused", f"{address} refused us in the handshake: {error}") from error
    except OSError as error:
        raise EvidenceLost("closed", f"the connection to {address} broke: {error}") from error
    except ValueError as error:
        raise EvidenceLost("bad_message", f"{address} sent a line of more than {MAX_LINE} bytes") from error
    if not line.endswith(b"\n"):
        raise EvidenceLost("closed", f"{address} closed the connection")
    return line
