"""wrk against a pair, measured while it runs steadily.

The window opens when every connection has reached the application, so requests/s and CPU per request hold no handshake;
wrk's latencies are those of the whole run, whose first request per connection does.
"""

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from handfast_bench.backend import Backend
from handfast_bench.namespaces import CLIENT, BenchFailed, Namespaces
from handfast_bench.pair import Pair
from handfast_bench.usage import cpu_s

SCRIPT: Final = Path(__file__).with_name("report.lua")
ERRORS: Final = ("connect", "read", "write", "status", "timeout")
_MARK: Final = "handfast-bench "
_RAMP_S: Final = 20.0
_SETTLE_S: Final = 0.3
_END_S: Final = 15.0
_PATIENCE_S: Final = 30
"""Of wrk with one answer: the first waits behind every other connection's handshake."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was measured of one run."""

    requests_per_s: float
    cpu_us: float
    """Both proxies, per request."""
    p50_us: float
    p99_us: float
    p999_us: float
    errors: Mapping[str, int]
    """By wrk's own kinds; only those that happened."""


def parse_report(output: str) -> dict[str, int]:
    """The line of report.lua among what wrk printed. Raises BenchFailed when there is none."""
    for line in output.splitlines():
        if line.startswith(_MARK):
            return {key: int(value) for key, value in (word.split("=") for word in line.split()[1:])}
    raise BenchFailed(f"wrk printed no report: {output[-500:]}")


def errors_of(report: Mapping[str, int]) -> dict[str, int]:
    """Those that happened, by kind."""
    return {kind: report[kind] for kind in ERRORS if report[kind]}


def measure(
    spaces: Namespaces, backend: Backend, pair: Pair, *, connections: int, window_s: float, close: bool = False
) -> Window:
    """Drive `connections` at once, each request on a connection of its own if `close`. Raises BenchFailed."""
    output = backend.folder / "wrk.out"
    output.unlink(missing_ok=True)
    command: list[str | Path] = ["wrk", "-t1", f"-c{connections}", "-d600", "--timeout", str(_PATIENCE_S)]
    command += ["-s", SCRIPT, *(["-H", "Connection: close"] if close else []), pair.url]
    before = backend.served().connections
    process = spaces.start(CLIENT, command, log=output)
    try:
        if not close:
            _wait_established(backend, before + connections)
        time.sleep(_SETTLE_S)
        began, cpu, served = time.monotonic(), cpu_s(pair.pids), backend.served().requests
        time.sleep(window_s)
        elapsed, cpu, served = (
            time.monotonic() - began,
            cpu_s(pair.pids) - cpu,
            backend.served().requests - served,
        )
        process.send_signal(signal.SIGINT)
        process.wait(_END_S)
    finally:
        spaces.stop(process)
    report = parse_report(output.read_text())
    return Window(
        requests_per_s=served / elapsed,
        cpu_us=cpu * 1e6 / max(served, 1),
        p50_us=report["p50_us"],
        p99_us=report["p99_us"],
        p999_us=report["p999_us"],
        errors=errors_of(report),
    )


def _wait_established(backend: Backend, connections: int) -> None:
    deadline = time.monotonic() + _RAMP_S
    while (missing := connections - backend.served().connections) > 0:
        if time.monotonic() > deadline:
            raise BenchFailed(f"{missing} connections did not reach the back end in {_RAMP_S:.0f} s")
        time.sleep(0.02)
