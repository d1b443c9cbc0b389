"""The directory as this sidecar sees it: what is known at once, what can be asked, and a stream that is always retried.

The one rule: losing the directory takes nothing away. Last answers stay, addresses stay wanted and are watched again on
the next stream, and nobody is declared to be "nobody" by us.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, NoReturn

from handfast_sidecar import __version__
from handfast_sidecar.config.document import Network, parse_ranges
from handfast_sidecar.directory.book import AddressBook
from handfast_sidecar.directory.cache_file import CacheFile
from handfast_sidecar.directory.greeting import no_version_in_common
from handfast_sidecar.directory.messages import (
    REPORT_EVERY_S,
    SPEAKS,
    AddressAnswer,
    AddressUpdate,
    Alive,
    FromDirectory,
    FromSidecar,
    Goodbye,
    Hello,
    Place,
    PolicyUpdate,
    Report,
    RevokedUpdate,
    Unwatch,
    Watch,
    Welcome,
)
from handfast_sidecar.directory.reporting import Reporting
from handfast_sidecar.directory.stream import CONNECT_S, DirectoryStream, StreamEnded
from handfast_sidecar.identity.clock import Clock, utc_now
from handfast_sidecar.identity.reload import Identity, IdentityKeeper
from handfast_sidecar.identity.revocation import Revocations
from handfast_sidecar.identity.standing import Objection, Standing
from handfast_sidecar.observe import table
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.versions import NO_COMMON_VERSION

BACKOFF_FIRST_S: Final = 0.1
BACKOFF_MAX_S: Final = 10.0
URGENT_S: Final = 0.5
"""Longest pause while a connection waits for an answer: it is held for seconds, not for a whole back-off."""
UNANSWERED_S: Final = 2.0
"""Seconds in which a question is answered, or the directory says anything else: one that does not is taken for lost,
while there is time to ask another one. Without a question it has longer (`messages.SILENCE_S`)."""
HURRY_S: Final = 1.0
"""Seconds for an attempt to connect while a connection waits, doubled when two have failed: a lost node answers
nothing, and Kubernetes goes on naming its replica for most of a minute."""
STABLE_S: Final = 5.0
"""A stream that lasted this long was a good one: the back-off starts anew."""
SWEEP_S: Final = 30.0
"""Seconds between looks for idle addresses."""
REPORT_SOON_S: Final = 2.0
"""Longest time until news is reported, by chance less: thousands of sidecars may have the same news in one moment."""
MOVE_S: Final = 10.0
"""Longest time until a stream moves to a newer identity, by chance less: each move costs the directory a handshake."""
CACHE_EVERY_S: Final = 2.0
"""Seconds in which changes are collected before the cache file is written."""

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
        book: AddressBook | None = None,
        standing: Standing | None = None,
        on_revoked: Callable[[Revocations], None] = lambda _revoked: None,
        move_s: float = MOVE_S,
        clock: Clock = utc_now,
    ) -> None:
        self._identity = identity
        self._standing = standing or Standing(lambda: identity.current)
        self._on_revoked = on_revoked
        self._move_s = move_s
        self._reporting = Reporting(report)
        self._on_policy = on_policy
        self._cache = cache
        self._book = book or AddressBook()
        self._clock = clock
        self._stream: DirectoryStream | None = None
        self._waiters: dict[str, asyncio.Future[None]] = {}
        """By address, from the first question until the answer: callers may long have given up."""
        self._waiting = 0
        """Callers that still wait."""
        self._urgent = asyncio.Event()
        self._changed = asyncio.Event()
        self._renew = asyncio.Event()
        self._news = asyncio.Event()
        self._opened_with: Identity | None = None
        self.connected = False
        """Whether a directory that proved who it is has welcomed us, and the stream still stands."""
        self.cluster_ranges: tuple[Network, ...] = ()
        """As the directory last said; empty before it did."""
        self.place = Place()
        """Where our own pod runs, as the directory last said."""
        self._connected = table.DIRECTORY_CONNECTED.of(registry)
        self._reconnects = table.DIRECTORY_RECONNECTS.of(registry)
        table.DIRECTORY_ADDRESSES.of(registry).set_function(lambda: len(self._book))
        if cache is not None:
            self._book.load(cache.read(), time.monotonic())
            self.place = cache.place
        identity.subscribe(self._identity_changed)

    def known(self, address: str) -> AddressAnswer | None:
        """What lives at an address as far as we were told; never waits."""
        self._book.touch(address, time.monotonic())
        return self._book.known(address)

    async def resolve(self, address: str, timeout_s: float) -> AddressAnswer | None:
        """What lives at an address, asked of the directory if need be; None when nobody answered in time."""
        answer = self.known(address)
        if answer is not None:
            return answer
        self._want(address)
        waiter = self._waiters.get(address)
        if waiter is None:
            waiter = self._waiters[address] = asyncio.get_running_loop().create_future()
        if not self.connected:
            self._urgent.set()
        self._waiting += 1
        try:
            stream, asked_at = self._stream, time.monotonic()
            await asyncio.wait((waiter,), timeout=min(timeout_s, UNANSWERED_S))
            if not waiter.done() and timeout_s > UNANSWERED_S:
                self._doubt(stream, asked_at)
                await asyncio.wait((waiter,), timeout=timeout_s - UNANSWERED_S)
        finally:
            self._waiting -= 1
        return self._book.known(address)

    def report_soon(self) -> None:
        """Something changed that others wait to hear of: do not let them wait for the next report."""
        self._news.set()

    async def run(self) -> None:
        """Keep a stream to the directory until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._stay_connected())
                group.create_task(self._sweep())
                if self._cache is not None:
                    group.create_task(self._keep(self._cache))
        finally:
            if self._cache is not None and self._changed.is_set():
                self._cache.write(self._book.answers())

    def _doubt(self, stream: DirectoryStream | None, asked_at: float) -> None:
        """A question was not answered on this stream."""
        if stream is not None and stream is self._stream and stream.heard_at < asked_at:
            self._urgent.set()
            stream.give_up(StreamEnded("unanswered", f"the directory was silent for {UNANSWERED_S:.0f} s when asked"))

    # --- the book

    def _want(self, address: str) -> None:
        new, left = self._book.want(address, time.monotonic())
        self._forgotten(left)
        if new:
            self._send(Watch(address))

    def _forgotten(self, addresses: tuple[str, ...]) -> None:
        for address in addresses:
            self._send(Unwatch(address))
            self._settle(address)

    def _settle(self, address: str) -> None:
        waiter = self._waiters.pop(address, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _send(self, message: FromSidecar) -> None:
        """Whatever cannot be sent now is said by the replay of the next stream."""
        if self._stream is not None:
            self._stream.send(message)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            if self.connected:
                # Without a directory nothing is forgotten: it could not be asked for again.
                self._forgotten(self._book.expired(time.monotonic()))

    async def _keep(self, cache: CacheFile) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(CACHE_EVERY_S)
            self._changed.clear()
            await asyncio.to_thread(cache.write, self._book.answers())

    # --- the stream

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            reason = await self._one_stream(failures)
            self._reconnects.labels(reason).inc()
            failures = 0 if time.monotonic() - began > STABLE_S else failures + 1
            if reason != "renewed":
                await self._pause(backoff_s(failures))

    async def _pause(self, delay_s: float) -> None:
        self._urgent.clear()
        if self._waiting:
            delay_s = min(delay_s, URGENT_S)
        try:
            async with asyncio.timeout(delay_s):
                await self._urgent.wait()
                await asyncio.sleep(random.uniform(0, URGENT_S))  # noqa: S311 - jitter, not a secret
        except TimeoutError:
            return

    async def _one_stream(self, failures: int) -> str:
        """Open a stream and listen until it ends; the reason."""
        self._renew.clear()
        self._opened_with = self._identity.current
        stream = None
        try:
            stream = await self._open(self._opened_with, failures)
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
                # The proxy ends: a pod that lived for seconds would else have told of nothing.
                stream.send(*self._reporting.next())
            raise
        except Exception:
            # The supervisor's loop: whatever fails in one stream must not keep the next one from being opened.
            log.exception("the stream to the directory failed in a way of its own")
            return "internal"
        finally:
            self._stream = None
            self._set_connected(False)
            if stream is not None:
                await stream.close()

    async def _open(self, identity: Identity, failures: int) -> DirectoryStream:
        """A stream, or StreamEnded; no attempt keeps a waiting connection from the next one."""
        opening = asyncio.ensure_future(DirectoryStream.open(identity.material, self._standing))
        hurry = asyncio.ensure_future(self._out_of_patience(failures))
        try:
            await asyncio.wait((opening, hurry), return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                raise StreamEnded("timeout", "the directory did not answer, and connections wait: another attempt")
            return await opening
        finally:
            opening.cancel()
            hurry.cancel()
            await asyncio.gather(opening, hurry, return_exceptions=True)

    async def _out_of_patience(self, failures: int) -> None:
        """Returns HURRY_S, or more, after somebody begins to wait."""
        if not self._waiting:
            self._urgent.clear()
            await self._urgent.wait()
        await asyncio.sleep(min(CONNECT_S, HURRY_S * 2 ** min(max(failures - 1, 0), 10)))

    async def _converse(self, stream: DirectoryStream) -> NoReturn:
        """Listen, report and keep to the leaves' life, whatever ends first; raises StreamEnded."""
        stream.send(Hello(__version__), *map(Watch, self._book.wanted()))
        self._stream = stream
        parts = [
            asyncio.ensure_future(part) for part in (self._listen(stream), self._report_on(stream), self._age(stream))
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
                if self._book.apply(answer):
                    self._changed.set()
                self._settle(answer.address)
            case Place():
                self.place = message
                if self._cache is not None:
                    self._cache.place = message
                    self._changed.set()
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

    async def _report_on(self, stream: DirectoryStream) -> NoReturn:
        for line in self._reporting.begin():
            await stream.send_all(line)
        while True:
            self._news.clear()
            for line in self._reporting.next():
                await stream.send_all(line)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPORT_EVERY_S):
                    await self._news.wait()
                    await asyncio.sleep(random.uniform(0, REPORT_SOON_S))  # noqa: S311 - jitter, not a secret

    async def _age(self, stream: DirectoryStream) -> NoReturn:
        """End the stream for a newer identity, or at the end of the leaves it was opened with."""
        try:
            async with asyncio.timeout(seconds_until(stream.expires_at, self._clock())):
                await self._renew.wait()
                if self._objection(stream) is None:
                    await asyncio.sleep(random.uniform(0, self._move_s))  # noqa: S311 - jitter, not a secret
        except TimeoutError:
            raise StreamEnded("expired", "a leaf of this stream expired: has the operator renewed it?") from None
        objection = self._objection(stream)
        if objection is not None:
            raise StreamEnded(objection.reason, objection.sentence)
        raise StreamEnded("renewed", "a newer identity is loaded")

    def look_again(self) -> None:
        """End the stream when there is something now against the directory at its other end."""
        if self._stream is not None and self._objection(self._stream) is not None:
            self._renew.set()

    def _objection(self, stream: DirectoryStream) -> Objection | None:
        return self._standing.objection(stream.proof, self._identity.current.material.proof)

    def _identity_changed(self, identity: Identity) -> None:
        used = self._opened_with
        if used is not None and (
            not identity.material.same_identity(used.material)
            or identity.material.config.directory != used.material.config.directory
        ):
            self._renew.set()
            self._urgent.set()
        self.report_soon()

    def _set_connected(self, connected: bool) -> None:
        self.connected = connected
        self._connected.set(int(connected))


def backoff_s(failures: int) -> float:
    """Seconds before the next attempt: exponential, with full jitter, so that a fleet does not return at once."""
    return random.uniform(0, min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(failures, 10)))  # noqa: S311 - jitter


def seconds_until(moment: datetime, now: datetime) -> float:
    """Never negative."""
    return max(0.0, (moment - now).total_seconds())
