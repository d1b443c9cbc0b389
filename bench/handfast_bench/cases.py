"""What is measured of a pair, by name. A case returns its figures; the table `CASES` is their order in every round."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from handfast_bench import bulk, firstbyte, idle, load
from handfast_bench.backend import Backend
from handfast_bench.limits import relayed_connections
from handfast_bench.namespaces import CLIENT, Namespaces
from handfast_bench.pair import Pair

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take; a longer window is steadier, and the whole run longer."""

    window_s: float
    """Seconds of each wrk window, after its connections are established."""
    bulk_s: float
    """Seconds of each bulk case, about."""
    idle_counts: tuple[int, ...]
    """Idle connections at which memory is read, ascending."""
    dials: int
    """Connections timed to their first byte."""
    repeats: int
    leave_out: frozenset[str] = frozenset()
    """Cases of a kind that another one exercises."""


FULL: Final = Pace(window_s=2.5, bulk_s=2.5, idle_counts=(1000, 10000), dials=200, repeats=3)
QUICK: Final = Pace(
    window_s=1.0,
    bulk_s=0.5,
    idle_counts=(200, 1000),
    dials=50,
    repeats=1,
    leave_out=frozenset({"keepalive-32", "keepalive-128", "bulk-1"}),
)


@dataclass(frozen=True, slots=True)
class Bench:
    """A pair that runs, and what is around it."""

    spaces: Namespaces
    backend: Backend
    pair: Pair
    folder: Path
    pace: Pace


Case = Callable[[Bench], Figures]


def _keepalive(connections: int) -> Case:
    def case(bench: Bench) -> Figures:
        return _figures(_window(bench, connections))

    return case


def _new_connections(bench: Bench) -> Figures:
    window = _window(bench, 32, close=True)
    return {
        "connections_per_s": window.requests_per_s,
        "cpu_us": window.cpu_us,
        "errors": sum(window.errors.values()),
    }


def _bulk(streams: int) -> Case:
    def case(bench: Bench) -> Figures:
        return bulk.measure(bench.spaces, bench.pair, bench.folder, streams=streams, duration_s=bench.pace.bulk_s)

    return case


def _small_beside_bulk(bench: Bench) -> Figures:
    beside = bench.spaces.start(CLIENT, bulk.download(bench.pair, bulk.ENDLESS), log=bench.folder / "beside.out")
    try:
        time.sleep(0.3)  # the stream is to have its connection, and its speed, before the window
        window = _window(bench, 1)
    finally:
        bench.spaces.stop(beside)
    figures = dict(_figures(window))
    return {key: figures[key] for key in ("p50_us", "p99_us", "p999_us", "errors")}


def _idle(bench: Bench) -> Figures:
    counts = sorted({min(each, relayed_connections()) for each in bench.pace.idle_counts})
    return idle.measure(bench.spaces, bench.pair, counts)


def _first_byte(bench: Bench) -> Figures:
    return firstbyte.through(bench.spaces, bench.pair, bench.pace.dials)


def _window(bench: Bench, connections: int, *, close: bool = False) -> load.Window:
    window_s = bench.pace.window_s
    return load.measure(
        bench.spaces, bench.backend, bench.pair, connections=connections, window_s=window_s, close=close
    )


def _figures(window: load.Window) -> Figures:
    return {
        "requests_per_s": window.requests_per_s,
        "cpu_us": window.cpu_us,
        "p50_us": window.p50_us,
        "p99_us": window.p99_us,
        "p999_us": window.p999_us,
        "errors": sum(window.errors.values()),
    }


CASES: Final[dict[str, Case]] = {
    "first-byte": _first_byte,
    "keepalive-1": _keepalive(1),
    "keepalive-32": _keepalive(32),
    "keepalive-128": _keepalive(128),
    "keepalive-1000": _keepalive(1000),
    "new-connections": _new_connections,
    "bulk-1": _bulk(1),
    "bulk-8": _bulk(8),
    "small-beside-bulk": _small_beside_bulk,
    "idle": _idle,
}
FRESH: Final = frozenset({"idle"})
"""Cases that need a pair which nobody has used; once in a run is enough for them."""
