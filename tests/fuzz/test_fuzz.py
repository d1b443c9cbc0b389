"""The fuzzer itself, for some seconds; and every input that it once found, which must be no finding any more."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.targets import TARGETS, Target
from fuzz.tunnel import holds

PROGRAM = Path(__file__).with_name("tunnel.py")
REGRESSIONS = sorted(Path(__file__).with_name("regressions").iterdir())


def fuzz(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The program as `make fuzz` starts it."""
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=50, check=False)


def test_some_seconds_of_fuzzing_find_nothing_and_reach_most_of_the_mux(tmp_path: Path) -> None:
    done = fuzz("--minutes", "0.1", "--seed", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    reached = re.search(r"tunnel\.mux +(\d+) of +(\d+) lines", done.stdout)
    assert reached is not None
    assert int(reached[1]) / int(reached[2]) > 0.8


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_what_honest_peers_send_is_taken(target: Target) -> None:
    for seed in target.seeds:
        target.run(seed)


@pytest.mark.parametrize("file", REGRESSIONS, ids=lambda file: file.name)
def test_what_was_found_once_is_found_no_more(file: Path) -> None:
    TARGETS[file.name.partition(".")[0]].run(file.read_bytes())


def test_a_finding_is_written_down_and_can_be_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(data: bytes) -> None:
        raise ValueError(data)

    broken = Target("preface", (), lambda _random, data, _other: data, run)
    assert not holds(broken, b"input", tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == b"input"
    assert f"--replay {file}" in capsys.readouterr().out
    assert fuzz("--replay", str(file), cwd=tmp_path).returncode == 0
