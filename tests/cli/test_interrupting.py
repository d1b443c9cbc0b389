"""Ctrl-C, where Python's own signal handler would not be run for long."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from handfast_operator.cli.interrupting import agrees, heard

QUESTION = """\
import asyncio
from handfast_operator.cli.interrupting import agrees
async def command():
    agrees("Force it?")
asyncio.run(command())
"""


def interrupt_nobodys_waiting() -> None:
    """A signal to this thread, once the main thread sleeps: as one that comes just before the main thread does."""
    state = Path(f"/proc/self/task/{threading.main_thread().native_id}/stat")
    while state.read_text().rpartition(")")[2].split()[0] != "S":
        time.sleep(0.01)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)


@pytest.mark.timeout(30, method="signal")
def test_a_signal_that_interrupts_no_waiting_ends_the_command_all_the_same() -> None:
    async def command() -> None:
        with heard():
            threading.Thread(target=interrupt_nobodys_waiting).start()
            await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(command())


@pytest.mark.timeout(60, method="signal")
def test_a_question_is_left_with_ctrl_c() -> None:
    words = [sys.executable, "-c", QUESTION]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.read(len("Force it? [y/N] ")) == "Force it? [y/N] "
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        assert "KeyboardInterrupt" in process.stderr.read()


@pytest.mark.parametrize(
    ("typed", "meant"), [("y", True), ("Yes", True), ("n", False), ("", False), ("yesterday", False)]
)
def test_only_yes_is_yes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, typed: str, meant: bool) -> None:
    (tmp_path / "typed").write_text(f"{typed}\n")
    with (tmp_path / "typed").open() as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        assert agrees("Force it?") is meant
