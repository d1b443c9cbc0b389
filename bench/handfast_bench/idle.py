"""What a pair holds in memory before the first connection, and for each one that lies idle."""

import subprocess
import sys
from collections.abc import Sequence
from typing import IO

from handfast_bench.namespaces import CLIENT, BenchFailed, Namespaces
from handfast_bench.pair import Pair
from handfast_bench.usage import memory


def measure(spaces: Namespaces, pair: Pair, counts: Sequence[int]) -> dict[str, float]:
    """For a pair that nobody has used. `counts` are ascending; the last one's growth has no suffix.

    The growth of both sides' RSS, divided by the connections and by two: KiB for one proxy, the mean of the sides.
    """
    before = memory(pair.client)
    both_before = memory(pair.pids).rss_kb
    figures: dict[str, float] = {
        "rss_kb": before.rss_kb,
        "pss_kb": before.pss_kb,
        "private_kb": before.private_kb,
    }
    command = spaces.command(CLIENT, [sys.executable, "-m", "handfast_bench.opener", pair.host, str(pair.port)])
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as opener:
        try:
            for count in counts:
                _open(opener, count)
                growth = memory(pair.pids).rss_kb - both_before
                suffix = "" if count == counts[-1] else f"_{count}"
                figures[f"kb_per_idle_connection{suffix}"] = growth / count / 2
            figures["idle_connections"] = counts[-1]
        finally:
            opener.kill()
    return figures


def _open(opener: "subprocess.Popen[str]", count: int) -> None:
    _pipe(opener.stdin).write(f"{count}\n")
    _pipe(opener.stdin).flush()
    if not _pipe(opener.stdout).readline():
        words = _pipe(opener.stderr).read().strip().splitlines()
        raise BenchFailed(f"could not open {count} idle connections: {words[-1] if words else 'the opener ended'}")


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise AssertionError("started with pipes")
    return pipe
