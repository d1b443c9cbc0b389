"""How long a stream to the directory lasts: as long as both its leaves, and the identity that opened it.

The one rule: a stream moves to a newer identity at leisure, but leaves at once a directory that is no longer trusted.
"""

import asyncio
import random
from datetime import datetime
from typing import Final, NoReturn

from handfast_sidecar.directory.stream import DirectoryStream, StreamEnded
from handfast_sidecar.identity.clock import Clock
from handfast_sidecar.identity.reload import Identity, IdentityKeeper
from handfast_sidecar.identity.standing import Objection, Standing

MOVE_S: Final = 10.0
"""Longest time until a stream moves to a newer identity, by chance less: each move costs the directory a handshake."""


class Tenure:
    """That of one stream after another."""

    def __init__(self, identity: IdentityKeeper, standing: Standing, move_s: float, clock: Clock) -> None:
        self.standing = standing
        self.move_s = move_s
        self._identity = identity
        self._clock = clock
        self._over = asyncio.Event()
        self._opened_with: Identity | None = None

    def begin(self) -> Identity:
        """The identity to open the next stream with."""
        self._over.clear()
        self._opened_with = self._identity.current
        return self._opened_with

    def superseded(self, identity: Identity) -> bool:
        """Whether another stream should be opened with a newer identity; one that is open is told to move."""
        used = self._opened_with
        if used is None or (
            identity.material.same_identity(used.material)
            and identity.material.config.directory == used.material.config.directory
        ):
            return False
        self._over.set()
        return True

    def look_again(self, stream: DirectoryStream) -> None:
        """End the stream when there is something now against the directory at its other end."""
        if self._objection(stream) is not None:
            self._over.set()

    async def end_in_time(self, stream: DirectoryStream) -> NoReturn:
        """Raises StreamEnded for a newer identity, or at the end of the leaves that the stream was opened with."""
        try:
            async with asyncio.timeout(seconds_until(stream.expires_at, self._clock())):
                await self._over.wait()
                if self._objection(stream) is None:
                    await asyncio.sleep(random.uniform(0, self.move_s))  # noqa: S311 - jitter, not a secret
        except TimeoutError:
            raise StreamEnded("expired", "a leaf of this stream expired: has the operator renewed it?") from None
        objection = self._objection(stream)
        if objection is not None:
            raise StreamEnded(objection.reason, objection.sentence)
        raise StreamEnded("renewed", "a newer identity is loaded")

    def _objection(self, stream: DirectoryStream) -> Objection | None:
        return self.standing.objection(stream.proof, self._identity.current.material.proof)


def seconds_until(moment: datetime, now: datetime) -> float:
    """Never negative."""
    return max(0.0, (moment - now).total_seconds())
