"""What wrk prints, read."""

import pytest

from handfast_bench.load import errors_of, parse_report
from handfast_bench.namespaces import BenchFailed

LINE = (
    "handfast-bench requests=1234 duration_us=1000500 p50_us=420 p99_us=3100 p999_us=9000"
    " connect=0 read=2 write=0 status=1 timeout=0"
)
OUTPUT = f"""Running 10m test @ http://10.77.0.2:8080/
  1 threads and 32 connections
^C  Thread Stats   Avg      Stdev     Max   +/- Stdev
Requests/sec:   1233.38
{LINE}
"""


def test_the_line_of_the_script_is_found_among_wrks_own() -> None:
    found = parse_report(OUTPUT)
    assert (found["requests"], found["p50_us"], found["p999_us"]) == (1234, 420, 9000)


def test_errors_are_named_by_kind() -> None:
    assert errors_of(parse_report(LINE)) == {"read": 2, "status": 1}


def test_a_wrk_that_died_is_told_with_its_last_words() -> None:
    with pytest.raises(BenchFailed, match="unable to connect"):
        parse_report("unable to connect to 10.77.0.2:8080 Connection refused")
