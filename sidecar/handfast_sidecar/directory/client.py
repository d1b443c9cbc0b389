"""The directory as this sidecar sees it: what is known at once, what can be asked, and a stream that is always retried.

The one rule: losing the directory takes nothing away. Last answers stay, addresses stay wanted and are watched again on
the next stream, and nobody is declared to be "nobody" by us.
"""

import asyncio
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
from handfast_sidecar.directory.codec import encode
from handfast_sidecar.directory.messages import (
    MAX_SIDECAR_LINE,
    PROTOCOL,
    REPORT_EVERY_S,
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
    Unwatch,
    Watch,
    Welcome,
)
from handfast_sidecar.directory.stream import DirectoryStream, StreamEnded
from handfast_sidecar.identity.clock import Clock, utc_now
from handfast_sidecar.identity.reload import Identity, IdentityKeeper
from handfast_sidecar.observe.metrics import Registry

BACKOFF_FIRST_S: Final = 0.1
BACKOFF_MAX_S: Final = 10.0
URGENT_S: Final = 0.5
"""Longest pause while a connection waits for an answer: it is held for seconds, not for a whole back-off."""
STABLE_S: Final = 5.0
"""A stream that lasted this long was a good one: the back-off starts anew."""
SWEEP_S: Final = 30.0
"""Seconds between looks for idle addresses."""
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
        clock: Clock = utc_now,
    ) -> None:
        self._identity = identity
        self._report = report
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
        self._opened_with: Identity | None = None
        self.connected = False
        """Whether a directory that proved who it is has welcomed us, and the stream still stands."""
        self.cluster_ranges: tuple[Network, ...] = ()
        """As the directory last said; empty before it did."""
        self.place = Place()
        """Where our own pod runs, as the directory last said."""
        self._connected = registry.gauge("handfast_directory_connected", "1 while a directory's stream stands.")
        self._reconnects = registry.counter(
            "handfast_directory_reconnects_total", "Streams that ended or never opened, by reason.", ("reason",)
        )
        registry.gauge("handfast_directory_addresses", "Addresses that are watched.").set_function(
            lambda: len(self._book)
        )
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
            await asyncio.wait((waiter,), timeout=timeout_s)
        finally:
            self._waiting -= 1
        return self._book.known(address)

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
            reason = await self._one_stream()
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

    async def _one_stream(self) -> str:
        """Open a stream and listen until it ends; the reason."""
        self._renew.clear()
        self._opened_with = self._identity.current
        stream = None
        try:
            stream = await DirectoryStream.open(self._opened_with.material)
            await self._converse(stream)
        except StreamEnded as error:
            planned = error.reason in {"renewed", "goodbye"}
            log.log(
                logging.INFO if planned else logging.WARNING,
                "stream to the directory ended" if stream else "no stream to the directory",
                extra={"reason": error.reason, "detail": str(error)},
            )
            return error.reason
        except Exception:
            # The supervisor's loop: whatever fails in one stream must not keep the next one from being opened.
            log.exception("the stream to the directory failed in a way of its own")
            return "internal"
        finally:
            self._stream = None
            self._set_connected(False)
            if stream is not None:
                await stream.close()

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
            raise StreamEnded("goodbye", f"the directory turned us away: {welcome.reason}")
        if not isinstance(welcome, Welcome) or welcome.protocol != PROTOCOL:
            raise StreamEnded("protocol", f"the directory began with {welcome!r}, expected protocol {PROTOCOL}")
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
            case Goodbye(reason):
                raise StreamEnded("goodbye", f"the directory said goodbye: {reason}")
            case Alive() | Welcome() | None:
                return

    def _tell_policy(self, update: PolicyUpdate) -> None:
        try:
            self._on_policy(update)
        except Exception:
            log.exception("a policy from the directory could not be taken over")

    async def _report_on(self, stream: DirectoryStream) -> NoReturn:
        while True:
            stream.send(fitting(self._report()))
            await asyncio.sleep(REPORT_EVERY_S)

    async def _age(self, stream: DirectoryStream) -> NoReturn:
        """End the stream for a newer identity, or at the end of the leaves it was opened with."""
        try:
            async with asyncio.timeout(seconds_until(stream.expires_at, self._clock())):
                await self._renew.wait()
        except TimeoutError:
            raise StreamEnded("expired", "a leaf of this stream expired: has the operator renewed it?") from None
        raise StreamEnded("renewed", "a newer identity is loaded")

    def _identity_changed(self, identity: Identity) -> None:
        used = self._opened_with
        if used is not None and (
            not identity.material.same_identity(used.material)
            or identity.material.config.directory != used.material.config.directory
        ):
            self._renew.set()
            self._urgent.set()

    def _set_connected(self, connected: bool) -> None:
        self.connected = connected
        self._connected.set(int(connected))


def backoff_s(failures: int) -> float:
    """Seconds before the next attempt: exponential, with full jitter, so that a fleet does not return at once."""
    return random.uniform(0, min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(failures, 10)))  # noqa: S311 - jitter


def seconds_until(moment: datetime, now: datetime) -> float:
    """Never negative."""
    return max(0.0, (moment - now).total_seconds())


def fitting(report: Report) -> Report:
    """The report, with fewer edges when its line would be longer than the directory reads."""
    while len(encode(report)) > MAX_SIDECAR_LINE and report.edges:
        report = Report(
            report.serial, report.not_after, report.bundle, report.revision, report.edges[: len(report.edges) // 2]
        )
    return report
