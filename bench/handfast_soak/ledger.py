"""What both ends say of each connection, laid side by side. Pure.

A connection that nobody was to abort is right when both ends ended cleanly and each received as many bytes as the
other sent: that they were the right ones, each end has checked itself. Of an aborted one, a prefix must have arrived.
"""

from collections import Counter
from dataclasses import dataclass, field

from handfast_soak.conversation import Ended, Outcome
from handfast_soak.plan import Kind, Side


@dataclass
class Ledger:
    """Grows with the connections that are open, not with those that are over."""

    failures: list[str] = field(default_factory=list)
    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By kind and how it ended for the client."""
    bytes_up: int = 0
    """That arrived at the server."""
    bytes_down: int = 0
    _open: dict[int, Outcome] = field(default_factory=dict)
    """By number: where one end has spoken."""
    _without_plan: int = 0
    """Connections at the server of which no plan arrived."""
    _may_lack_a_plan: int = 0
    """Connections of the client of which the server need not know."""

    @property
    def connections(self) -> int:
        return self.ended.total()

    @property
    def clean(self) -> int:
        return sum(count for (_kind, ended), count in self.ended.items() if ended == Ended.CLEAN)

    def add(self, outcome: Outcome) -> None:
        """One end's word."""
        client = outcome.side == Side.CLIENT.word
        if client:
            self.ended[outcome.kind, outcome.ended] += 1
            self.bytes_down += outcome.received
        else:
            self.bytes_up += outcome.received
        if outcome.ended is Ended.FAILED:
            self._fail(outcome, outcome.detail)
        elif outcome.ended is Ended.RESET and outcome.number and not _may_be_reset(outcome):
            self._fail(outcome, f"an RST that nobody sent: {outcome.detail}")
        if not client and not outcome.number:
            self._without_plan += 1
        elif outcome.kind == Kind.EMPTY.word:
            self._may_lack_a_plan += 1
        elif (other := self._open.pop(outcome.number, None)) is not None:
            self._compare(*((outcome, other) if client else (other, outcome)))
        else:
            self._open[outcome.number] = outcome

    @property
    def alone(self) -> list[Outcome]:
        """Ends whose other end has a word to say, and has not said it yet."""
        return [each for each in self._open.values() if each.ended is not Ended.FAILED and not _gave_up(each)]

    def close(self) -> None:
        """All have ended: whoever is still alone in the book has lost its other end."""
        for outcome in self.alone:
            self._fail(outcome, f"ended {outcome.ended}, and its other end never said anything")
        self._may_lack_a_plan += sum(map(_gave_up, self._open.values()))
        self._open.clear()
        if self._without_plan > self._may_lack_a_plan:
            self.failures.append(
                f"{self._without_plan} connections reached the server without a plan, at most {self._may_lack_a_plan}"
                " may have"
            )

    def _compare(self, client: Outcome, server: Outcome) -> None:
        if Ended.FAILED in (client.ended, server.ended):
            return
        for one, other in ((client, server), (server, client)):
            exact = client.ended is server.ended is Ended.CLEAN
            if other.received > one.sent or (exact and other.received != one.sent):
                self._fail(other, f"{one.sent} bytes were sent and {other.received} received")
        if client.aborts == Side.NOBODY.word and not client.ended is server.ended is Ended.CLEAN:
            self._fail(client, f"ended {client.ended} here and {server.ended} there")

    def _fail(self, outcome: Outcome, what: str) -> None:
        self.failures.append(f"{outcome.kind} {outcome.number}, {outcome.side}'s end: {what}")


def _gave_up(outcome: Outcome) -> bool:
    """A client that aborts may do so before the server knows of it."""
    return outcome.side == Side.CLIENT.word and outcome.ended is Ended.ABORTED


def _may_be_reset(outcome: Outcome) -> bool:
    return outcome.aborts not in (Side.NOBODY.word, outcome.side)
