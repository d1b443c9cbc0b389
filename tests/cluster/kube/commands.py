"""Running a tool to its end, with its last words in the error when it fails."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.kube.errors import BuildFailed, ClusterError

LAST_WORDS = 4000
"""Characters of a failed tool's output that its error repeats."""


def run(
    command: Sequence[str | Path],
    *,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 120,
    error: type[ClusterError] = ClusterError,
) -> str:
    """Its standard output; `error` with the end of what it printed when it fails or takes too long."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, input=stdin, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as late:
        raise error(f"gave up after {timeout_s:.0f} s: {' '.join(words)}") from late
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-LAST_WORDS:]
        raise error(f"{' '.join(words)}: exit code {done.returncode}\n{said}")
    return done.stdout


def build(command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """As `run`, for a compiler or an image builder: up to 40 minutes."""
    return run(command, cwd=cwd, env=env, timeout_s=2400, error=BuildFailed)
