"""The peer on Go's crypto/tls: its source is in `bench/peers/gorelay`, its binary in the user's cache."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from handfast_bench.namespaces import BenchFailed

SOURCE: Final = Path(__file__).parent.parent / "peers" / "gorelay"
BINARY: Final = Path.home() / ".cache" / "handfast" / "bench" / "gorelay"
_USUAL: Final = "/usr/local/go/bin/go"


def compiler() -> str | None:
    """Go's command, if this machine has one."""
    return shutil.which("go") or shutil.which(_USUAL)


def build() -> None:
    """Bring the binary up to date; Go's own cache makes it quick. Raises BenchFailed."""
    go = compiler()
    if go is None:
        raise BenchFailed("go is not installed: see https://go.dev/dl/")
    BINARY.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [go, "build", "-o", BINARY, "."],
        cwd=SOURCE,
        env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchFailed(f"go build in {SOURCE}: {done.stderr[-1000:]}")


def command(*, accepts_tls: bool, accept: str, connect: str, identity: Path, name: str) -> Sequence[str | Path]:
    """The words that start one side."""
    side = "server" if accepts_tls else "client"
    return [BINARY, "-side", side, "-accept", accept, "-connect", connect, "-identity", identity, "-name", name]
