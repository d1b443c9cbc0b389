"""Streams of big answers through a pair, received by curl: what a byte costs when bytes are all that counts."""

import time
from pathlib import Path

from handfast_bench.backend import BIG_BYTES
from handfast_bench.namespaces import CLIENT, BenchFailed, Namespaces
from handfast_bench.pair import Pair
from handfast_bench.usage import cpu_s

ENDLESS = 1_000_000
_PATIENCE_S = 120.0


def download(pair: Pair, files: int) -> list[str]:
    """A command that receives the big file so many times over one connection and prints each one's bytes."""
    url = f"{pair.url}big?[1-{files}]"
    return ["curl", "--silent", "--show-error", "--fail", "--output", "/dev/null", "-w", "%{size_download}\n", url]


def measure(spaces: Namespaces, pair: Pair, folder: Path, *, streams: int, duration_s: float) -> dict[str, float]:
    """About `duration_s` of downloads, `streams` at once, over as many connections. Raises BenchFailed.

    The amount is fixed beforehand, by one download that also warms the pair up.
    """
    began = time.monotonic()
    _together(spaces, pair, folder, streams=1, files=1)
    rate = BIG_BYTES / (time.monotonic() - began)
    files = max(1, round(rate * duration_s / BIG_BYTES / streams))
    cpu, began = cpu_s(pair.pids), time.monotonic()
    received = _together(spaces, pair, folder, streams=streams, files=files)
    elapsed, cpu = time.monotonic() - began, cpu_s(pair.pids) - cpu
    return {"mb_per_s": received / 1e6 / elapsed, "cpu_s_per_gb": cpu / (received / 1e9)}


def _together(spaces: Namespaces, pair: Pair, folder: Path, *, streams: int, files: int) -> int:
    outputs = [folder / f"curl-{number}.out" for number in range(streams)]
    for each in outputs:
        each.unlink(missing_ok=True)
    command = download(pair, files)
    processes = [spaces.start(CLIENT, command, log=each) for each in outputs]
    try:
        codes = [each.wait(_PATIENCE_S) for each in processes]
    finally:
        for process in processes:
            spaces.stop(process)
    if any(codes):
        raise BenchFailed(f"curl failed: {' '.join(each.read_text()[-300:] for each in outputs)}")
    received = sum(int(line) for each in outputs for line in each.read_text().splitlines())
    if received != streams * files * BIG_BYTES:
        raise BenchFailed(f"curl received {received} bytes of {streams * files * BIG_BYTES}")
    return received
