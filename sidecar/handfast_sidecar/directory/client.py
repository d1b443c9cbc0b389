"""The directory as this sidecar sees it: what is known at once, what can be asked, and a stream that is always retried.

The one rule: losing the directory takes nothing away. Last answers stay, addresses stay wanted and are watched again on
the next stream, and nobody is declared to be "nobody" by us.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, NoReturn

from handfast_sidecar import __version__
from handfast_sidecar.config.document import Network, parse_ranges
from handfast_sidecar.directory.book import AddressBook
from handfast_sidecar.directory.cache_file import CacheFile
from handfast_sidecar.directory.greeting import no_version_in_common
from handfast_sidecar.directory.memory import Memory
from handfast_sidecar.directory.messages import (
    SPEAKS,
    AddressAnswer,
    AddressUpdate,
    Alive,
    FromDirectory,
    Goodbye,
    Hello,
    Place,
    PolicyUpdate,
    Report,
    RevokedUpdate,
    Welcome,
)
from handfast_sidecar.directory.patience import Patience
from handfast_sidecar.directory.questions import Questions
from handfast_sidecar.directory.reporter import Reporter
from handfast_sidecar.directory.stream import DirectoryStream, StreamEnded
from handfast_sidecar.directory.tenure import MOVE_S, Tenure
from handfast_sidecar.identity.clock import Clock, utc_now
from handfast_sidecar.identity.reload import Identity, IdentityKeeper
from handfast_sidecar.identity.revocation import Revocations
from handfast_sidecar.identity.standing import Standing
from handfast_sidecar.observe import table
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.versions import NO_COMMON_VERSION

STABLE_S: Final = 5.0
"""A stream that lasted this long was a good one: the back-off starts anew."""
SWEEP_S: Final = 30.0
"""Seconds between looks for idle addresses."""

log = logging.getLogger(__name__)


class Directory:
    """Answers about addresses, from memory when the directory spoke of them before."""

    def __init__(
        self,
        identity: IdentityKeeper,
        report: Callable[[], Report],
        on_policy: Callable[[PolicyUpdate], None],
        registry: Registry,
        *,
        cache: CacheFile | None = None,
        standing: Standing | None = None,
        on_revoked: Callable[[Revocations], None] = lambda _revoked: None,
        make_room: Callable[[], bool] = lambda: False,
        move_s: float = MOVE_S,
        clock: Clock = utc_now,
    ) -> None:
        self._tenure = Tenure(identity, standing or Standing(lambda: identity.current), move_s, clock)
        self._on_revoked = on_revoked
        self._reporter = Reporter(report, make_room)
        self._on_policy = on_policy
        self._patience = Patience()
        book = AddressBook()
        self._questions = Questions(book, self._patience)
        self._memory = Memory(book, cache)
        self.connected = False
        """Whether a directory that proved who it is has welcomed us, and the stream still stands."""
        self.cluster_ranges: tuple[Network, ...] = ()
        """As the directory last said; empty before it did."""
        self._connected = table.DIRECTORY_CONNECTED.of(registry)
        self._reconnects = table.DIRECTORY_RECONNECTS.of(registry)
        table.DIRECTORY_ADDRESSES.of(registry).set_function(lambda: len(book))
        identity.subscribe(self._identity_changed)

    @property
    def place(self) -> Place:
        """Where our own pod runs, as the directory last said."""
        return self._memory.place

    def known(self, address: str) -> AddressAnswer | None:
        """What lives at an address as far as we were told; never waits."""
        return self._questions.known(address)

    async def resolve(self, address: str, timeout_s: float) -> AddressAnswer | None:
        """What lives at an address, asked of the directory if need be; None when nobody answered in time."""
        return await self._questions.resolve(address, timeout_s)

    def report_soon(self) -> None:
        """Something changed that others wait to hear of: do not let them wait for the next report."""
        self._reporter.soon()

    def look_again(self) -> None:
        """End the stream when there is something now against the directory at its other end."""
        if self._questions.stream is not None:
            self._tenure.look_again(self._questions.stream)

    async def run(self) -> None:
        """Keep a stream to the directory until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._stay_connected())
                group.create_task(self._sweep())
                group.create_task(self._memory.keep())
        finally:
            self._memory.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            if self.connected:
                # Without a directory nothing is forgotten: it could not be asked for again.
                self._questions.forget_idle()

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            reason = await self._one_stream(failures)
            self._reconnects.labels(reason).inc()
            failures = 0 if time.monotonic() - began > STABLE_S else failures + 1
            if reason != "renewed":
                await self._patience.pause(failures)

    async def _one_stream(self, failures: int) -> str:
        """Open a stream and listen until it ends; the reason."""
        stream = None
        try:
            stream = await self._open(failures)
            await self._converse(stream)
        except StreamEnded as error:
            planned = error.reason in {"renewed", "goodbye"}
            log.log(
                logging.INFO if planned else logging.WARNING,
                "stream to the directory ended" if stream else "no stream to the directory",
                extra={"reason": error.reason, "detail": str(error)},
            )
            return error.reason
        except asyncio.CancelledError:
            if stream is not None and self.connected:
                self._reporter.last(stream)
            raise
        except Exception:
            # The supervisor's loop: whatever fails in one stream must not keep the next one from being opened.
            log.exception("the stream to the directory failed in a way of its own")
            return "internal"
        finally:
            self._questions.stream = None
            self._set_connected(False)
            if stream is not None:
                await stream.close()

    async def _open(self, failures: int) -> DirectoryStream:
        """A stream, or StreamEnded; no attempt keeps a waiting connection from the next one."""
        opening = asyncio.ensure_future(DirectoryStream.open(self._tenure.begin().material, self._tenure.standing))
        hurry = asyncio.ensure_future(self._patience.ends(failures))
        try:
            await asyncio.wait((opening, hurry), return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                raise StreamEnded("timeout", "the directory did not answer, and connections wait: another attempt")
            return await opening
        finally:
            opening.cancel()
            hurry.cancel()
            await asyncio.gather(opening, hurry, return_exceptions=True)

    async def _converse(self, stream: DirectoryStream) -> NoReturn:
        """Listen, report and keep to the leaves' life, whatever ends first; raises StreamEnded."""
        stream.send(Hello(__version__), *self._questions.repeated())
        self._questions.stream = stream
        parts = [
            asyncio.ensure_future(part)
            for part in (self._listen(stream), self._reporter.report_on(stream), self._tenure.end_in_time(stream))
        ]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
            raise StreamEnded("internal", "a part of the stream ended without a reason")
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    async def _listen(self, stream: DirectoryStream) -> NoReturn:
        welcome = await stream.receive()
        if isinstance(welcome, Goodbye):
            word = NO_COMMON_VERSION if welcome.reason == NO_COMMON_VERSION else "goodbye"
            raise StreamEnded(word, f"the directory turned us away: {welcome.detail or welcome.reason}")
        if not isinstance(welcome, Welcome):
            raise StreamEnded("protocol", f"the directory began with {welcome!r}, expected its welcome")
        if SPEAKS.common(welcome.speaks) is None:
            raise StreamEnded(NO_COMMON_VERSION, no_version_in_common(welcome))
        try:
            self.cluster_ranges = parse_ranges(welcome.cluster_ranges)
        except ValueError as error:
            raise StreamEnded("bad_message", f"the directory's cluster ranges cannot be read: {error}") from error
        self._set_connected(True)
        log.info("connected to the directory", extra={"directory_version": welcome.version})
        while True:
            self._take(await stream.receive())

    def _take(self, message: FromDirectory | None) -> None:
        match message:
            case AddressUpdate(answer):
                if self._questions.answered(answer):
                    self._memory.learnt()
            case Place():
                self._memory.placed(message)
            case PolicyUpdate():
                self._tell_policy(message)
            case RevokedUpdate(revoked):
                self._tell_revoked(revoked)
            case Goodbye(reason):
                raise StreamEnded("goodbye", f"the directory said goodbye: {reason}")
            case Alive() | Welcome() | None:
                return

    def _tell_policy(self, update: PolicyUpdate) -> None:
        try:
            self._on_policy(update)
        except Exception:
            log.exception("a policy from the directory could not be taken over")

    def _tell_revoked(self, revoked: Revocations) -> None:
        try:
            self._on_revoked(revoked)
        except Exception:
            log.exception("a list of what is revoked could not be taken over")

    def _identity_changed(self, identity: Identity) -> None:
        if self._tenure.superseded(identity):
            self._patience.urge()
        self.report_soon()

    def _set_connected(self, connected: bool) -> None:
        self.connected = connected
        self._connected.set(int(connected))
