"""Other people's implementations in Go: small programs of the tests, compiled when their sources are new."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from cluster.kube import commands
from cluster.kube.build import locked


def built(sources: Path, why: str) -> Path:
    """The program in a folder; without Go the test is skipped, but never in CI. `why` says what is missing then."""
    if shutil.which("go") is None:
        reason = f"Go is missing: {why} (go.dev/dl, or apt-get install golang)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "handfast"
    cache = Path(os.environ.get("HANDFAST_CACHE") or user_cache).resolve() / sources.name
    cache.mkdir(parents=True, exist_ok=True)
    texts = [path.read_bytes() for path in sorted(sources.iterdir())]
    program = cache / hashlib.sha256(b"\0".join(texts)).hexdigest()[:16]
    with locked(cache / "build.lock"):
        if not program.exists():
            unfinished = program.with_suffix(".unfinished")
            alone = os.environ | {"GOWORK": "off", "CGO_ENABLED": "0"}
            commands.build(
                ["go", "build", "-trimpath", "-buildvcs=false", "-o", unfinished, "."], cwd=sources, env=alone
            )
            unfinished.rename(program)
    return program
