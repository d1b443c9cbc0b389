"""Redis and redis-benchmark: small questions, one by one and many at once, and large values."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from applications.conftest import Meshed
from handfast_bench.namespaces import CLIENT, SERVER, SERVER_IP

CONNECTIONS = 50
TESTS = ("PING_INLINE", "PING_MBULK", "SET", "GET", "LPUSH", "LRANGE_100 (first 100 elements)")


@pytest.fixture(scope="module")
def redis_cli(
    meshed: Meshed, program: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A server, and the program that asks it."""
    folder = tmp_path_factory.mktemp("redis")
    cli = program("redis-cli")
    options: list[str | Path] = ["--bind", SERVER_IP, "--protected-mode", "no", "--save", "", "--dir", folder]
    with meshed.serving([program("redis-server"), *options], [cli, "-h", SERVER_IP, "ping"], folder / "log"):
        yield cli


@pytest.mark.parametrize(
    "how",
    [["-n", "8000"], ["-n", "40000", "-P", "16"], ["-n", "3000", "-d", "50000"]],
    ids=["one by one", "pipelined", "large values"],
)
def test_redis_benchmark_gets_all_its_answers(
    meshed: Meshed, program: Callable[[str], Path], redis_cli: Path, how: list[str]
) -> None:
    large = "-d" in how
    chosen = "set,get" if large else "ping,set,get,lpush,lrange_100"
    with meshed.encrypted(at_least=CONNECTIONS):
        benchmark = program("redis-benchmark")
        said = meshed.run(CLIENT, benchmark, "-h", SERVER_IP, "-c", str(CONNECTIONS), "-t", chosen, "--csv", *how)
    assert "rror" not in said
    rates = {row[0]: float(row[1]) for row in csv.reader(said.splitlines()) if row[0] != "test"}
    assert set(rates) >= ({"SET", "GET"} if large else set(TESTS))
    assert all(rate > 0 for rate in rates.values())
    stats = meshed.run(SERVER, redis_cli, "-h", SERVER_IP, "info", "stats").split()
    assert "rejected_connections:0" in stats
    assert "total_error_replies:0" in stats
