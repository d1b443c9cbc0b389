"""One sidecar's conversation: its lines in, our lines out. Pure.

The one rule: who speaks was settled by the leaf before the first line, so nothing in a line can change it. What breaks
the protocol ends the session with a reason, and costs nobody else anything.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import assert_never

from handfast_operator.directory.subscriptions import Subscriptions
from handfast_sidecar import __version__
from handfast_sidecar.directory.codec import decode_from_sidecar, encode
from handfast_sidecar.directory.greeting import no_version_in_common
from handfast_sidecar.directory.messages import (
    MAX_WATCHES,
    SPEAKS,
    Alive,
    Hello,
    Place,
    PolicyUpdate,
    Report,
    Unwatch,
    Watch,
    Welcome,
)
from handfast_sidecar.errors import BadMessage, HandfastError
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.versions import NO_COMMON_VERSION


class SessionEnded(HandfastError):
    """The session is over; `reason` is the metric's label and the word in our goodbye."""

    def __init__(self, reason: str, message: str, *, told: str = "") -> None:
        """`told`: a sentence that the sidecar is told, for its own log."""
        super().__init__(message)
        self.reason, self.told = reason, told


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom a session is with, as its leaf and the API server say."""

    uid: str
    pod: str
    """namespace/name."""
    identity: SpiffeId
    not_after: datetime
    root: str = ""
    """The trust anchor that vouches for its leaf: see `identity.bundle.anchor`."""
    serial: str = ""
    """Of its leaf."""


class Session:
    """The state of one conversation."""

    __slots__ = (
        "_limit",
        "_place",
        "_policy",
        "_ranges",
        "_report",
        "_revoked",
        "_subscriptions",
        "greeted",
        "peer",
        "told",
        "watched",
    )

    def __init__(
        self,
        peer: Peer,
        subscriptions: Subscriptions["Session"],
        policy: Callable[[str], PolicyUpdate | None],
        report: Callable[[Peer, Report], None],
        cluster_ranges: tuple[str, ...] = (),
        *,
        place: Callable[[str], Place] = lambda _uid: Place(),
        revoked: Callable[[], bytes] = lambda: b"",
        limit: int = MAX_WATCHES,
    ) -> None:
        self.peer = peer
        self.greeted = False
        self.told = 0
        """Revision of the last policy that was told."""
        self.watched: set[str] = set()
        self._subscriptions = subscriptions
        self._policy = policy
        self._report = report
        self._ranges = cluster_ranges
        self._place = place
        self._revoked = revoked
        self._limit = limit

    def receive(self, line: bytes) -> tuple[bytes, ...]:
        """The lines that answer one line; raises SessionEnded when there is nothing more to say."""
        try:
            message = decode_from_sidecar(line)
        except BadMessage as error:
            raise SessionEnded("bad_message", str(error)) from error
        if not self.greeted and not isinstance(message, Hello):
            raise SessionEnded("protocol", f"the first line must be a hello, found {line[:80]!r}")
        match message:
            case Hello():
                return self._welcome(message)
            case Watch(address):
                return (self._watch(address),)
            case Unwatch(address):
                self._unwatch(address)
            case Report():
                self._report(self.peer, message)
            case None:
                pass  # a newer sidecar may say what we do not know
            case _:
                assert_never(message)
        return ()

    def policy_line(self) -> bytes:
        """The pod's effective policy now; nothing when the pod is gone."""
        update = self._policy(self.peer.uid)
        if update is None:
            return b""
        self.told = update.revision
        return encode(update)

    def place_line(self) -> bytes:
        """Where the pod runs."""
        return encode(self._place(self.peer.uid))

    def end(self) -> None:
        """Take back every watch."""
        for address in self.watched:
            self._subscriptions.unwatch(self, address)
        self.watched.clear()

    def _welcome(self, hello: Hello) -> tuple[bytes, ...]:
        if self.greeted:
            raise SessionEnded("protocol", "a second hello")
        if SPEAKS.common(hello.speaks) is None:
            sentence = no_version_in_common(hello)
            raise SessionEnded(NO_COMMON_VERSION, sentence, told=sentence)
        self.greeted = True
        return (encode(Welcome(__version__, self._ranges)), self._revoked(), self.place_line(), self.policy_line())

    def _watch(self, address: str) -> bytes:
        if len(self.watched) >= self._limit and address not in self.watched:
            raise SessionEnded("too_many_watches", f"more than {self._limit} addresses are watched at a time")
        if not _canonical(address):
            raise SessionEnded("bad_address", f"{address[:60]!r} is no IP address in its shortest form")
        self.watched.add(address)
        # A sidecar that hears nothing takes us for lost.
        return self._subscriptions.watch(self, address) or encode(Alive())

    def _unwatch(self, address: str) -> None:
        if address in self.watched:
            self.watched.remove(address)
            self._subscriptions.unwatch(self, address)


def _canonical(address: str) -> bool:
    """Two spellings of one address would be two watches, and neither would match the pod's own."""
    try:
        return str(ip_address(address)) == address
    except ValueError:
        return False
