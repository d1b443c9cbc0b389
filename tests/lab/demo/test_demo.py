"""`handfast demo` as a user starts it: it shows what it says, ends by itself, and leaves nothing behind."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

import pytest

from handfast_lab.network import isolation

DEMO = [sys.executable, "-m", "handfast_lab", "demo"]
FAILING = """
import sys
from handfast_lab.demo import inside, walk

async def fail(stage):
    await stage.run("get pods -n nowhere-at-all -l a=b")
    stage.check(False, "pigs fly")

inside.STEPS = (walk.Step("A step", "that fails", fail),)
sys.exit(inside.main())
"""


def traces() -> dict[str, object]:
    """What a lab that has not cleaned up would leave on this machine; other tests may run beside this one."""
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    rules = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    return {
        "links": re.findall(r"\bpods?\d+\b", links),
        "rules": re.findall(r"handfast_lab\w*", rules),
        "mounts": "handfast-lab" in Path("/proc/self/mounts").read_text(),
        "processes": sorted(processes()),
        "files": sorted(str(each) for each in Path(gettempdir()).glob("handfast-demo-*")),
    }


def processes() -> dict[int, bytes]:
    """Command lines of the demos that run."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"handfast_lab.demo" in (line := (entry / "cmdline").read_bytes()):
                found[int(entry.name)] = line
        except OSError:
            continue
    return found


def until(what: str, holds: Callable[[], bool], patience_s: float = 30) -> None:
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.timeout(180)
def test_it_walks_through_everything_and_leaves_nothing_behind() -> None:
    before = traces()
    done = subprocess.run(DEMO, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    titles = re.findall(r"^\d/\d  (.+)$", done.stdout, re.MULTILINE)
    assert titles == ["Before", "Inject", "Encrypted", "Strict", "Allow", "Rotation", "Who talks to whom"]
    assert "\033" not in done.stdout, "colours are for terminals"
    assert traces() == before


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "killed"])
def test_nothing_stays_when_it_is_ended_at_any_moment(number: signal.Signals) -> None:
    before = traces()
    demo = subprocess.Popen([*DEMO, "--stay"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert demo.stdout is not None
    for _ in range(random.randint(1, 20)):  # noqa: S311 - any moment
        demo.stdout.readline()
    demo.send_signal(number)
    demo.stdout.read()
    assert demo.wait(30) == (130 if number == signal.SIGINT else -signal.SIGKILL)
    until("something is left", lambda: traces() == before)
    demo.stdout.close()


@pytest.mark.timeout(120)
def test_a_step_that_fails_ends_it_and_says_where_to_look(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as outside:
        words = [sys.executable, "-c", FAILING, f"--listen={outside.fileno()}"]
        running = isolation.start(words, os.environ, keep=(outside.fileno(),))
    assert running.wait() == 1
    said = capfd.readouterr().out
    assert "✗ this does not hold: pigs fly" in said
    assert "Run it again with --stay" in said


def test_a_machine_that_cannot_hold_it_is_told_why() -> None:
    environment = {**os.environ, "PATH": "/nowhere"}
    done = subprocess.run(DEMO, capture_output=True, text=True, timeout=30, check=False, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith("handfast demo: install ")
