"""What a program says of itself."""

import os
import time

from handfast_sidecar import __version__
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.observe.process import serve_process


def sample(text: str, name: str) -> float:
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def test_a_program_tells_its_version_its_cpu_its_memory_and_since_when_it_runs() -> None:
    registry = Registry()
    serve_process(registry, "sidecar")
    text = registry.render()
    assert f'handfast_build_info{{component="sidecar",version="{__version__}"}} 1\n' in text
    assert 0 < sample(text, "process_cpu_seconds_total") <= sum(os.times()[:2]) + 1
    assert 5 << 20 < sample(text, "process_resident_memory_bytes") < 4 << 30
    assert 0 < time.time() - sample(text, "process_start_time_seconds") < 7200
