"""The commands of a page, typed as they stand there: by a shell, with `kubectl`, `helm` and `handfast` in its PATH.

Where the page leaves open all that is printed, the command must succeed.

A page speaks of a namespace `shop`; where the test's own is called otherwise, the page is read with that name.
"""

import os
import re
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from support.transcript import ANYTHING, Command, commands, difference

ROOT: Final = Path(__file__).parents[2]
CHANGES: Final = frozenset(
    ("apply", "create", "delete", "install", "label", "patch", "revoke", "rollout", "scale", "uninstall", "upgrade")
)
"""What changes something is typed once; what only looks is typed until it says what the page says."""
PATIENCE_S: Final = 90.0


@dataclass(frozen=True, slots=True)
class Typed:
    """A command that was run."""

    command: Command
    seconds: float
    """Until it said what the page says."""
    printed: str


class Typist:
    """Types commands of pages."""

    def __init__(
        self, programs: Mapping[str, Sequence[str]], kubeconfig: Path, folder: Path, where: Path = ROOT
    ) -> None:
        """`programs`: what is run for each name; `folder`: empty, for the names to be found in; `where`: the working
        directory."""
        self._where = where
        for name, words in programs.items():
            script = folder / name
            script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            script.chmod(0o755)
        self._environment = os.environ | {"KUBECONFIG": str(kubeconfig), "PATH": f"{folder}:{os.environ['PATH']}"}
        self._environment.pop("HANDFAST_KUBECONFIG", None)

    def type_all(self, page: str, names: Mapping[str, str] | None = None) -> list[Typed]:
        """All commands in their order; fails the test at the first that does not say what the page says."""
        renamed = named(page, names or {})
        return [self.type(command) for command in commands(renamed)]

    def type(self, command: Command, patience_s: float = PATIENCE_S) -> Typed:
        """One command."""
        began = time.monotonic()
        once = not CHANGES.isdisjoint(command.words.split()[:3])
        while True:
            code, printed = self._run(command)
            problem = difference(command.expected, printed)
            if code and not set(command.expected) - {"", ANYTHING}:
                problem = f"exit code {code}, of which the page says nothing:\n{printed}"
            took = time.monotonic() - began
            if not problem:
                return Typed(command, took, printed)
            if once or took > patience_s:
                pytest.fail(f"line {command.line}: {command.words}\n{problem}")
            time.sleep(0.5)

    def _run(self, command: Command) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-c", command.words],
            input=command.given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
            cwd=self._where,
            env=self._environment,
        )
        return done.returncode, done.stdout


def named(page: str, names: Mapping[str, str]) -> str:
    """The page with other names, as whole words; its lines stay where they are."""
    for name, instead in names.items():
        page = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", instead, page)
    return page


def section(page: str, heading: str) -> str:
    """What stands under `## heading`, with lines numbered as in the page. ValueError: there is no such heading."""
    lines = page.splitlines(keepends=True)
    start = next((at for at, line in enumerate(lines) if line.rstrip() == f"## {heading}"), None)
    if start is None:
        raise ValueError(f"no heading: {heading}")
    end = next((at for at in range(start + 1, len(lines)) if lines[at].startswith("## ")), len(lines))
    return "\n" * start + "".join(lines[start:end])
