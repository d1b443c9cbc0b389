"""Applications as Debian has them, on both sides of a real pair of sidecars: what they say is what they always say.

Needs root and the packages that `make test` installs; without them these tests fail, because an application that nobody
tried is none that works.
"""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from handfast_bench.namespaces import CLIENT, SERVER, BenchFailed, Namespaces, namespaces
from handfast_bench.sidecars import Sidecars, sidecars

BENCH = Path(__file__).parent.parent.parent / "bench"
STARTS_S = 20.0


@dataclass(frozen=True)
class Meshed:
    """A pair of meshed pods: `client` and `server`."""

    spaces: Namespaces
    pair: Sidecars

    def run(self, where: str, *words: str | Path) -> str:
        """All that a program printed, which must end well."""
        done = subprocess.run(
            self.spaces.command(where, words),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    @contextmanager
    def serving(self, words: Sequence[str | Path], ready: Sequence[str | Path], log: Path) -> Iterator[None]:
        """An application in the server's pod, once `ready` succeeds there."""
        process = self.spaces.start(SERVER, words, log=log)
        deadline = time.monotonic() + STARTS_S
        while subprocess.run(self.spaces.command(SERVER, ready), capture_output=True, check=False).returncode:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"{words[0]} does not answer: {log.read_text()}"
            time.sleep(0.05)
        try:
            yield
        finally:
            self.spaces.stop(process)

    @contextmanager
    def encrypted(self, at_least: int) -> Iterator[None]:
        """So many connections of the block, or more, go through the tunnel, and not one goes in plaintext."""
        before = self._carried("true")
        yield
        assert self._carried("true") - before >= at_least
        assert self._carried("false") == 0
        for where in (CLIENT, SERVER):
            assert self.pair.metric(where, "handfast_denied_total") == 0

    def _carried(self, encrypted: str) -> float:
        return self.pair.metric(SERVER, "handfast_connections_opened_total", direction="in", encrypted=encrypted)


@contextmanager
def pair_of_pods(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Meshed]:
    """Two meshed pods, whose sidecars are told what stands in `environment` too."""
    try:
        with pytest.MonkeyPatch.context() as patch, namespaces() as spaces:
            patch.setenv("PYTHONPATH", str(BENCH))  # for the processes that the pair starts
            with sidecars(spaces, folder, environment=environment) as pair:
                yield Meshed(spaces, pair)
    except BenchFailed as failure:
        pytest.fail(f"{failure}: run `make test` as root")


@pytest.fixture(scope="module")
def meshed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meshed]:
    """Ready for connections from one pod to the other."""
    with pair_of_pods(tmp_path_factory.mktemp("pair")) as meshed:
        yield meshed


@pytest.fixture(scope="session")
def program() -> Callable[[str], Path]:
    """Where a program is, or what to do about it."""

    def find(name: str) -> Path:
        # Debian keeps PostgreSQL's own programs out of the PATH, a folder for each version.
        versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        found = str(versions[-1]) if versions else shutil.which(name)
        if found is None:
            pytest.fail(f"{name} is missing: run `make test` as root, which installs it")
        return Path(found)

    return find
