"""Living connections, judged again: what the policy no longer allows ends, and the others do not notice.

A round takes them in portions, so that no turn of the loop is long. Its one rule: what a change finds unjudged by the
round before comes first in its own, so that nobody outlives a policy because it changes often.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from handfast_sidecar.traffic.plain import PlainRelay
from handfast_sidecar.traffic.relay import Relay

log = logging.getLogger(__name__)

POLICY_CHANGED: Final = "policy_changed"
"""The reason of a connection that a change of the policy ended."""
PORTION_S: Final = 0.005
"""Seconds of a portion; then others have their turn."""
LOOK_S: Final = 60.0
"""Seconds until the wall clock is read again, while a time of it is waited for: somebody may set it."""
MAX_TOLD: Final = 256
"""Lines of a round in the log; each connection has its own in the access log."""

T = TypeVar("T", bound=Hashable)


@dataclass(slots=True)
class _Ended:
    """Connections of one port that ended for the same reason: the first, and how many there were."""

    peer: str
    port: int
    rule: str
    count: int = 0


class Live(Generic[T]):
    """Has everything that lives judged again.

    living    what lives now, carried or on its way
    judge     looks at one of it, which may have ended meanwhile; `end` is for what is carried
    next_end  when the next verdict changes by itself, in Unix seconds, from a time on; None: at no time
    """

    def __init__(
        self,
        living: Callable[[], Iterable[T]],
        judge: Callable[[T], None],
        *,
        next_end: Callable[[float], float | None] = lambda _now: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._living, self._judge, self._next_end, self._clock = living, judge, next_end, clock
        self._left: deque[T] = deque()
        self._ended: dict[str, _Ended] = {}
        """By the sentence that ended them."""
        self._portion_due: asyncio.Handle | None = None
        self._end_due: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin a round; one that runs goes over into it."""
        self._left = deque(dict.fromkeys([*self._left, *self._living()]))
        if self._portion_due is not None:
            # Not kept: a task that was made since then must have begun before it can be ended in good order.
            self._portion_due.cancel()
        self._portion_due = asyncio.get_running_loop().call_soon(self._portion)
        now = self._clock()
        self._wait_for(self._next_end(now), now)

    def end(self, relay: Relay | PlainRelay, rule: str, sentence: str) -> None:
        """End a connection that is carried, and say why."""
        connection = relay.connection
        connection.rule, connection.detail = rule, sentence
        if sentence in self._ended or len(self._ended) < MAX_TOLD:
            peer = str(connection.peer or connection.source)
            self._ended.setdefault(sentence, _Ended(peer, connection.destination_port, rule)).count += 1
        relay.stop(POLICY_CHANGED)

    def _portion(self) -> None:
        self._portion_due = None
        until = time.perf_counter() + PORTION_S
        loop = asyncio.get_running_loop()
        while self._left:
            try:
                self._judge(self._left.popleft())
            except Exception as error:  # noqa: BLE001 - one connection's failure must not keep the others'
                loop.call_exception_handler({"message": "a connection could not be judged again", "exception": error})
            if time.perf_counter() > until:
                self._portion_due = loop.call_soon(self._portion)
                return
        self._tell()

    def _tell(self) -> None:
        ended, self._ended = self._ended, {}
        for sentence, each in ended.items():
            log.warning(
                "the policy no longer allows what it did: connections were ended",
                extra={
                    "connections": each.count,
                    "peer": each.peer,
                    "port": each.port,
                    "rule": each.rule,
                    "reason": POLICY_CHANGED,
                    "detail": sentence,
                },
            )

    def _wait_for(self, end: float | None, now: float) -> None:
        if self._end_due is not None:
            self._end_due.cancel()
            self._end_due = None
        if end is not None:
            self._end_due = asyncio.get_running_loop().call_later(min(max(0.0, end - now), LOOK_S), self._look, end)

    def _look(self, end: float) -> None:
        now = self._clock()
        if now < end:
            self._wait_for(end, now)
        else:
            self.start()
