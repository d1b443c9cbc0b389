"""What it costs to judge a new stream, as the sidecar does: `Inbound.judge`, over policies of many rules."""

import gc
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import cycle, islice
from time import perf_counter_ns
from types import SimpleNamespace
from typing import Any, Final, cast

from handfast_bench.identities import TRUST_DOMAIN
from handfast_bench.rounds import say
from handfast_control.figures import Row, Table, percentile
from handfast_control.rules import PORT, account, allowing, below, names, open_to_all, stranger
from handfast_sidecar.identity.leaf import Leaf
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.policy.in_force import PolicyInForce
from handfast_sidecar.traffic.connection import Connection
from handfast_sidecar.traffic.inbound import Inbound
from handfast_sidecar.tunnel.connection import Tunnel
from handfast_sidecar.tunnel.preface import Preface
from handfast_sidecar.tunnel.reasons import Reason

COUNTS: Final = (0, 1, 100, 10_000)
MANY: Final = 10_000
"""Peers that come in turn: more than any cache of a sidecar would keep."""
COLUMNS: Final = {
    "known": "a peer seen before, us",
    "first": "first sight of a peer, us",
    "many": f"{MANY:,} peers in turn, us",
}
YARDSTICKS: Final = {"compare": "the rules one by one, ==, us", "match": "the same, re, us", "lookup": "dict, us"}
QUIETER: Final = 0.25
_POD_IP: Final = "10.79.0.2"
_PREFACE: Final = Preface("10.79.0.1", 40_000, _POD_IP, PORT)
_LEAF: Final = Leaf(stranger(0), "uid", "pod", "01", datetime.now(UTC), datetime.now(UTC), "ab" * 32)
Judge = Callable[[Tunnel], Reason]
PeerOf = Callable[[int], SpiffeId]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long it is measured."""

    calls: int
    """Of one pass, at most: as many as there are peers to see for the first time."""
    passes: int


FULL: Final = Pace(10_000, 9)
QUICK: Final = Pace(200, 3)


@dataclass(frozen=True, slots=True)
class Case:
    """A policy, and a family of peers that it judges alike."""

    what: str
    policy: Callable[[], EffectivePolicy]
    peer: PeerOf
    peers: int
    """How many there are, where a rule has to name each."""
    answer: Reason = Reason.CONNECTED


class _Journal:
    """Nobody is told."""

    def connection_opened(self, connection: Connection) -> None: ...
    def connection_over(self, connection: Connection) -> None: ...
    def connection_audited(self, connection: Connection) -> None: ...


def cases(count: int) -> Iterator[Case]:
    """Of a policy with so many rules."""
    title = f"{count:,} rule{'' if count == 1 else 's'}"
    if not count:
        yield Case(f"{title}: everybody is allowed", open_to_all, account, MANY)
        yield Case(f"{title}: nobody is allowed", lambda: allowing(0), stranger, MANY, Reason.DENIED)
        return
    # The last rules first: whoever reads them in order is as late as can be.
    yield Case(f"{title}: allowed by the last", lambda: allowing(count), lambda n: account(count - 1 - n), count)
    yield Case(f"{title}: allowed by a pattern", lambda: allowing(count, pattern=True), below, MANY)
    yield Case(f"{title}: refused", lambda: allowing(count), stranger, MANY, Reason.DENIED)


async def verdicts(pace: Pace, counts: Sequence[int] = COUNTS) -> Table:
    """Measure every case; a coroutine, because what judges belongs to a loop."""
    rows = []
    for case in (each for count in counts for each in cases(count)):
        with _quiet():
            rows.append(Row(case.what, _measured(case, pace)))
        say(f"{case.what}: " + "  ".join(f"{name} {value:.2f}" for name, value in rows[-1].figures.items() if value))
    return Table("verdicts", "A verdict on a new stream", COLUMNS, rows)


def yardsticks(pace: Pace, counts: Sequence[int] = COUNTS) -> Table:
    """What others know: the last of so many names, found by looking at each, and by one lookup."""
    rows = []
    for count in filter(None, counts):
        listed, wanted = names(count), str(account(count - 1))
        patterns = [re.compile(re.escape(each)) for each in listed]
        table = dict.fromkeys(listed, "rule")
        calls = max(1, pace.calls // count)
        found: dict[str, float | None] = {
            "compare": _per_call(calls, pace.passes, lambda: next(each for each in listed if each == wanted)),  # noqa: B023 - called here
            "match": _per_call(calls, pace.passes, lambda: next(each for each in patterns if each.fullmatch(wanted))),  # noqa: B023
            "lookup": _per_call(pace.calls, pace.passes, lambda: table.get(wanted)),  # noqa: B023
        }
        rows.append(Row(f"{count:,} name{'' if count == 1 else 's'}", found))
    return Table("yardsticks", "Beside it: the last of so many names", YARDSTICKS, rows)


def _measured(case: Case, pace: Pace) -> dict[str, float | None]:
    same = [_tunnel(case.peer(0))]
    # First sight needs a sidecar that has seen nobody, so each pass has one of its own.
    distinct = min(case.peers, pace.calls)
    passes = pace.passes * max(1, min(50, pace.calls // distinct // 4))
    first = [_pass(_sidecar(case), _tunnels(case, distinct), case.answer) for _ in range(passes)]
    known, turns = _sidecar(case), _sidecar(case)
    many = _tunnels(case, min(case.peers, MANY)) * (1 + pace.calls // min(case.peers, MANY))
    for tunnel in (*same, *many):
        known(tunnel), turns(tunnel)
    return {
        "known": _usual([_pass(known, same * pace.calls, case.answer) for _ in range(pace.passes)]),
        "first": _usual(first),
        "many": _usual([_pass(turns, many, case.answer) for _ in range(pace.passes)]) if case.peers >= MANY else None,
    }


def _sidecar(case: Case) -> Judge:
    """Its part that judges, with a policy that was never asked."""
    inbound = Inbound(
        PolicyInForce(case.policy(), 1),
        frozenset({_POD_IP}),
        lambda: TRUST_DOMAIN,
        _Journal(),
        lambda: cast(Any, None),
    )
    return lambda tunnel: inbound.judge(tunnel, _PREFACE)[0]


def _tunnels(case: Case, count: int) -> list[Tunnel]:
    return [_tunnel(peer) for peer in islice(map(case.peer, cycle(range(case.peers))), count)]


def _tunnel(peer: SpiffeId) -> Tunnel:
    """As much of one as is judged: whose it is."""
    return cast(Tunnel, SimpleNamespace(peer=replace(_LEAF, spiffe_id=peer)))


def _pass(judge: Judge, tunnels: list[Tunnel], answer: Reason) -> float:
    """Microseconds of one verdict. Raises ValueError when it is not the one that is measured."""
    began = perf_counter_ns()
    for tunnel in tunnels:
        judge(tunnel)
    took = perf_counter_ns() - began
    if (given := judge(tunnels[-1])) is not answer:
        raise ValueError(f"{tunnels[-1].peer.spiffe_id}: {given}, expected {answer}")
    return took / len(tunnels) / 1000


def _per_call(calls: int, passes: int, call: Callable[[], object]) -> float:
    found = []
    for _ in range(passes):
        began = perf_counter_ns()
        for _ in range(calls):
            call()
        found.append((perf_counter_ns() - began) / calls / 1000)
    return _usual(found)


def _usual(values: Sequence[float]) -> float:
    """What a quarter of all passes do not exceed: the others were disturbed by who else is on the machine."""
    return percentile(values, QUIETER)


@contextmanager
def _quiet() -> Iterator[None]:
    """What the bench itself made is not collected while it runs; a sidecar has little that could be."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
