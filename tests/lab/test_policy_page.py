"""docs/policy.md, run as it stands there: each command in its order prints what the page says."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from cluster import lab
from support.transcript import Command, commands, difference

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "policy.md"
PROGRAMS: Final = {
    "kubectl": [sys.executable, "-m", "handfast_lab.kubectl"],
    "handfast": [sys.executable, "-m", "handfast_operator.cli"],
}
ONCE: Final = ("apply", "label", "delete", "rollout restart", "approve", "deny")
"""What changes something is typed once; what only looks is looked at until it is so."""
PATIENCE_S: Final = 150.0
"""A promotion takes a minute and two reports, an expiry a minute."""


def printed(command: Command, environment: dict[str, str]) -> str:
    program, *words = shlex.split(command.words)
    done = subprocess.run(
        [*PROGRAMS[program], *words],
        input=command.given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env=environment,
    )
    return done.stdout


@pytest.mark.timeout(900, method="signal")
def test_every_command_of_the_page_prints_what_the_page_says() -> None:
    page = commands(PAGE.read_text())
    assert len(page) > 20
    with lab.started() as cluster:
        cluster.release().install()
        environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
        for command in page:
            deadline = time.monotonic() + PATIENCE_S
            while problem := difference(command.expected, printed(command, environment)):
                changes = command.words.partition(" ")[2].startswith(ONCE)
                if changes or time.monotonic() > deadline:
                    pytest.fail(f"line {command.line}: {command.words}\n{problem}")
                time.sleep(0.5)
