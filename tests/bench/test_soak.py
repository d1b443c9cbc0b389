"""A few seconds of the soak, with its leaves rotated every four. `python -m handfast_soak` takes its time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from handfast_soak.conversation import Ended, Outcome
from handfast_soak.footprint import Footprint
from handfast_soak.ledger import Ledger
from handfast_soak.memory import growth
from handfast_soak.own_time import OwnTime
from handfast_soak.pattern import Pattern, WrongBytes
from handfast_soak.plan import Kind, Order, Pace, Plan, Side

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(150)
def test_a_mixed_load_arrives_byte_by_byte_while_leaves_rotate(tmp_path: Path) -> None:
    # Leaves that live for five rotations: a machine that stands still for seconds must not look like a fault.
    words = ["--minutes", "0.5", "--rotate", "4", "--life", "20", "--seed", "4", "--folder", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "handfast_soak", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "bench")},
        capture_output=True,
        text=True,
        timeout=140,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("passed\n")


def test_a_plan_survives_the_wire() -> None:
    plan = Plan(7, Kind.RESET, Order.TOGETHER, 1, 2, 3, 4, Pace(5, 6), Pace(7, 8), Side.SERVER, abort_at=9)
    assert Plan.decode(plan.encode()) == plan


@pytest.mark.parametrize("loss", [1, 4096, 65536, 262144])
def test_lost_bytes_do_not_look_right(loss: int) -> None:
    sent, received = Pattern(3, downwards=True), Pattern(3, downwards=True)
    received.check(sent.take(1000))
    sent.take(loss)
    with pytest.raises(WrongBytes, match=f"offset 1000: bytes that belong at {1000 + loss} "):
        received.check(sent.take(64))


def test_bytes_of_another_connection_do_not_look_right() -> None:
    with pytest.raises(WrongBytes):
        Pattern(3, downwards=True).check(Pattern(4, downwards=True).take(64))


def _word(side: str, ended: Ended, sent: int, received: int, aborts: str = "nobody") -> Outcome:
    return Outcome(side, 1, "bulk", aborts, ended, sent, received)


@pytest.mark.parametrize(
    ("client", "server", "complaint"),
    [
        (_word("client", Ended.CLEAN, 5, 9), _word("server", Ended.CLEAN, 9, 5), ""),
        (_word("client", Ended.CLEAN, 5, 8), _word("server", Ended.CLEAN, 9, 5), "9 bytes were sent and 8 received"),
        (_word("client", Ended.RESET, 5, 9), _word("server", Ended.CLEAN, 9, 5), "an RST that nobody sent"),
        (_word("client", Ended.ABORTED, 5, 3, "client"), _word("server", Ended.RESET, 9, 5, "client"), ""),
        (_word("client", Ended.ABORTED, 5, 3, "client"), _word("server", Ended.RESET, 9, 6, "client"), "6 received"),
        (_word("client", Ended.CLEAN, 5, 9), None, "its other end never said anything"),
        (_word("client", Ended.ABORTED, 0, 0, "client"), None, ""),
    ],
)
def test_what_both_ends_say_is_compared(client: Outcome, server: Outcome | None, complaint: str) -> None:
    ledger = Ledger()
    for outcome in filter(None, (client, server)):
        ledger.add(outcome)
    ledger.close()
    assert complaint in "; ".join(ledger.failures)
    assert bool(complaint) is bool(ledger.failures)


def test_growth_is_from_the_second_quarter_to_the_last() -> None:
    mib = 1024
    samples = [
        Footprint(at, size * mib, size * mib, 9, 1) for at, size in ((1, 10), (3, 40), (5, 42), (7, 44), (9, 60))
    ]
    grown = growth(samples, 8, private=False)
    assert grown.quarters == (10 * mib, 40 * mib, 42 * mib, 44 * mib)
    assert (grown.grown, grown.allowed, grown.too_much) == (4 * mib, 4 * mib, False)


def test_time_in_which_the_process_stood_still_is_not_counted() -> None:
    times = iter([0.0, 1.0, 3.0, 93.0, 94.0])
    own = OwnTime(lambda: next(times))
    assert [own.now() for _ in range(4)] == [1.0, 3.0, 3.0, 4.0]
    assert own.still_s == 90.0
