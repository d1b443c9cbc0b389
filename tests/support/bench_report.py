"""A benchmark's report as a run would leave it, with figures that are easy to divide."""

from handfast_bench.results import Report, Result


def report(*more: Result) -> Report:
    """handfast twice as fast as haproxy on 32 connections, and go between them."""
    results = (
        Result("direct", "keepalive-32", {"requests_per_s": 90_000.0, "cpu_us": 0.0}),
        Result("handfast", "keepalive-32", {"requests_per_s": 60_000.0, "cpu_us": 10.0}),
        Result("haproxy", "keepalive-32", {"requests_per_s": 30_000.0, "cpu_us": 20.0}),
        Result("go", "keepalive-32", {"requests_per_s": 40_000.0, "cpu_us": 25.0}),
    )
    return Report({"cpu": "Abacus <3>", "cores": 2, "notes": ["A note."]}, results + more)
