"""One authenticated stream to the directory: opened, spoken on, and ended for a reason.

Nothing is sent or believed before the other side has proved to be exactly the directory that config.json names: any
other identity of the trust domain, a sidecar's for example, could otherwise tell us where our peers live.
"""

import asyncio
import contextlib
import ssl
import time
from datetime import datetime
from typing import Final

from handfast_sidecar.directory.codec import decode_from_directory, encode
from handfast_sidecar.directory.messages import MAX_LINE, SILENCE_S, FromDirectory, FromSidecar
from handfast_sidecar.errors import BadMessage, HandfastError, HandshakeFailed
from handfast_sidecar.identity.contexts import check_directory_peer, directory_client_context, stream_failure
from handfast_sidecar.identity.material import Material
from handfast_sidecar.identity.proof import Proof
from handfast_sidecar.identity.standing import Standing

CONNECT_S: Final = 10.0
"""Seconds for name, connection and handshake together."""
MAX_UNSENT: Final = 1 << 20
"""Bytes that wait for a directory that does not read; more ends the stream."""


class StreamEnded(HandfastError):
    """There is no stream, or no longer; `reason` is the metric's label."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class DirectoryStream:
    """Messages out and in."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, expires_at: datetime, proof: Proof
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.expires_at = expires_at
        """The earlier end of both leaves: no stream outlives the certificates it was opened with."""
        self.proof = proof
        """The directory's."""
        self.heard_at = time.monotonic()
        """When the directory last said anything."""
        self._given_up: StreamEnded | None = None

    @classmethod
    async def open(
        cls, material: Material, standing: Standing, context: ssl.SSLContext | None = None
    ) -> "DirectoryStream":
        """Connect to the directory of config.json and check who answered; raises StreamEnded."""
        where = material.config.directory
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(
                    where.host,
                    where.port,
                    ssl=context or directory_client_context(material),
                    server_hostname="",  # the identity is checked, no name; None would load all of IDNA to encode it
                    ssl_shutdown_timeout=1,
                    limit=MAX_LINE,
                )
        except TimeoutError as error:
            raise StreamEnded("timeout", f"{where.host}:{where.port} did not answer in {CONNECT_S:.0f} s") from error
        except ssl.SSLError as error:
            failure = stream_failure(error)
            raise StreamEnded(failure.reason, f"TLS with {where.host}:{where.port} failed: {failure}") from error
        except OSError as error:
            raise StreamEnded("unreachable", f"{where.host}:{where.port} cannot be reached: {error}") from error
        try:
            proof = check_directory_peer(writer.get_extra_info("ssl_object"), material.config.trust_domain)
            leaf = proof.leaf
            if leaf.spiffe_id != where.spiffe_id:
                raise HandshakeFailed(
                    "wrong_identity",
                    f"{where.host}:{where.port} is {leaf.spiffe_id}, the directory is {where.spiffe_id}: does the"
                    " Service handfast-directory select the right pods?",
                )
            standing.check(proof, material.proof)
        except HandshakeFailed as error:
            writer.transport.abort()
            raise StreamEnded(error.reason, str(error)) from error
        return cls(reader, writer, min(material.expires_at, leaf.not_after), proof)

    def send(self, *messages: FromSidecar) -> None:
        """Send without waiting; a directory that does not read ends the stream, which `receive` then tells."""
        if self._writer.transport.is_closing():
            return
        self._writer.write(b"".join(map(encode, messages)))
        if self._writer.transport.get_write_buffer_size() > MAX_UNSENT:
            self._writer.transport.abort()

    async def send_all(self, message: FromSidecar) -> None:
        """Send, and wait until most of it has left: for what may be long. An end of the stream `receive` tells."""
        self.send(message)
        with contextlib.suppress(OSError):
            await self._writer.drain()

    def give_up(self, why: StreamEnded) -> None:
        """End it at once, for a reason that `receive` then tells."""
        self._given_up = why
        self._writer.transport.abort()

    async def receive(self) -> FromDirectory | None:
        """The next message, None for one of a type we do not know; raises StreamEnded."""
        try:
            async with asyncio.timeout(SILENCE_S):
                line = await self._reader.readline()
            if not line.endswith(b"\n"):
                raise self._given_up or StreamEnded("closed", "the directory closed the stream")
            self.heard_at = time.monotonic()
            return decode_from_directory(line)
        except TimeoutError as error:
            raise StreamEnded("silent", f"nothing was heard from the directory for {SILENCE_S} s") from error
        except BadMessage as error:
            raise StreamEnded("bad_message", str(error)) from error
        except ssl.SSLError as error:
            # In TLS 1.3 a client learns only with its first read that the server refused its certificate.
            raise StreamEnded("refused", f"the directory refused us in the handshake: {error}") from error
        except OSError as error:
            raise self._given_up or StreamEnded("closed", f"the stream to the directory broke: {error}") from error
        except ValueError as error:
            raise StreamEnded("bad_message", f"the directory sent a line of more than {MAX_LINE} bytes") from error

    async def close(self) -> None:
        """End the stream, in a bounded time."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(2):
                await self._writer.wait_closed()
