"""One small case, for real: namespaces, back end, two sidecars, wrk. Needs root and what `make test` installs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(120)
def test_a_quick_run_leaves_figures_of_handfast_and_of_no_proxy(tmp_path: Path) -> None:
    out = tmp_path / "out" / "dataplane.json"
    words = ["dataplane", "--quick", "--only", "direct,handfast", "--cases", "keepalive-1", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "handfast_bench", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "bench")},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = {each["proxy"]: each for each in json.loads(out.read_text())["results"]}
    assert set(results) == {"direct", "handfast"}
    assert all(each["requests_per_s"] > 0 and "errors" not in each for each in results.values())
    assert results["handfast"]["cpu_us"] > 0
    assert "### Requests on one connection" in done.stdout
