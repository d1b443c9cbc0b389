"""The mixed load: which kinds of connections run beside each other, and how often. Pure, given its random numbers.

The number of workers of each kind is fixed, so that the load is the same in the first quarter and in the last: only
then does memory that grows mean something.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from handfast_soak.plan import Kind, Order, Pace, Plan, Side

KIB: Final = 1024
MIB: Final = 1024 * KIB

MakePlan = Callable[[Random, int, float], Plan]
"""From random numbers, the connection's number, and the seconds that the longest ones may last."""


@dataclass(frozen=True, slots=True)
class Share:
    """Workers that each open one such connection after the other."""

    name: str
    workers: int
    pause_s: tuple[float, float]
    """Between two connections of a worker."""
    plan: MakePlan


def _size(random: Random, low: int, high: int) -> int:
    """As many small ones as large ones."""
    return int(low * (high / low) ** random.random())


def _keepalive(random: Random, number: int, longest_s: float) -> Plan:
    quiet_ms = random.randint(40, 250)
    rounds = max(2, int(random.uniform(0.3, 1) * longest_s * 1000 / quiet_ms))
    piece = _size(random, 64, 32 * KIB)
    return Plan(number, Kind.KEEPALIVE, Order.ROUNDS, piece * rounds, piece * rounds, rounds, quiet_ms)


def _short(random: Random, number: int, _longest_s: float) -> Plan:
    piece = _size(random, 16, 16 * KIB)
    order = random.choice((Order.ROUNDS, Order.COUNTED_ROUNDS))
    return Plan(number, Kind.SHORT, order, piece, piece, 1)


def _idle(random: Random, number: int, longest_s: float) -> Plan:
    quiet_ms = int(random.uniform(0.2, 1) * longest_s * 1000)
    return Plan(number, Kind.IDLE, Order.ROUNDS, 3 * KIB, 3 * KIB, 3, quiet_ms)


def _bulk(random: Random, number: int, _longest_s: float) -> Plan:
    up, down = random.choice(((1, 0), (0, 1), (1, 1)))
    size = _size(random, MIB, 8 * MIB)
    return Plan(number, Kind.BULK, Order.TOGETHER, up * size, down * size)


def _slow_reader(random: Random, number: int, longest_s: float) -> Plan:
    """Several MB wait at the peer while the reader takes a little and pauses, for at most a good part of the time."""
    slow_s = random.uniform(0.2, 0.7) * min(longest_s, 12)
    size, every = random.randint(3 * MIB, 6 * MIB), random.choice((16 * KIB, 64 * KIB, 512 * KIB))
    pace = Pace(every, max(1, int(slow_s * 1000 / (size / every))))
    client_is_slow = random.random() < 0.6
    up, down = (64 * KIB, size) if client_is_slow else (size, 64 * KIB)
    reads = (pace, Pace()) if client_is_slow else (Pace(), pace)
    return Plan(number, Kind.SLOW_READER, Order.TOGETHER, up, down, 0, 0, *reads)


def _half_close(random: Random, number: int, _longest_s: float) -> Plan:
    order = random.choice((Order.CLIENT_FIRST, Order.SERVER_FIRST))
    return Plan(number, Kind.HALF_CLOSE, order, _size(random, 1, MIB), _size(random, 1, MIB))


def _reset(random: Random, number: int, _longest_s: float) -> Plan:
    up, down = _size(random, 4 * KIB, 4 * MIB), _size(random, 4 * KIB, 4 * MIB)
    who = random.choice((Side.CLIENT, Side.SERVER))
    at = random.choice((0, int(random.uniform(0, 0.9) * (up + down))))
    slow = Pace(32 * KIB, 20) if random.random() < 0.3 else Pace()
    reads = (Pace(), slow) if who is Side.CLIENT else (slow, Pace())
    return Plan(number, Kind.RESET, Order.TOGETHER, up, down, 0, 0, *reads, who, at)


def _empty(random: Random, number: int, _longest_s: float) -> Plan:
    return Plan(number, Kind.EMPTY, Order.TOGETHER, aborts=random.choice((Side.NOBODY, Side.CLIENT)))


MIX: Final[Sequence[Share]] = (
    Share("keepalive", 16, (0.1, 1.0), _keepalive),
    Share("short", 5, (0.04, 0.16), _short),
    Share("idle", 10, (0.1, 2.0), _idle),
    Share("bulk", 2, (0.5, 2.0), _bulk),
    Share("slow-reader", 4, (0.1, 1.0), _slow_reader),
    Share("half-close", 2, (0.1, 0.5), _half_close),
    Share("reset", 2, (0.1, 0.5), _reset),
    Share("empty", 1, (0.1, 0.5), _empty),
)
