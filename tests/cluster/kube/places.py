"""Where things are kept. The cache survives runs; the state belongs to one cluster and goes with it."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
LOGS = REPOSITORY / "tests" / "cluster" / ".logs"

STATE = Path("/var/lib/handfast-cluster")
"""One for the machine, not for each cache: a second cluster must see the first, as both want the same addresses."""

KUBECONFIG = STATE / "kubeconfig"

INSIDE = Path("/var/lib/handfast")
"""Our files as the cluster's processes see them."""

OUTSIDE = STATE / "var-lib" / "handfast"
"""The same files as everyone else sees them."""


def cache() -> Path:
    """`$HANDFAST_CACHE/cluster`, else `handfast/cluster` in the user's cache folder; made when missing."""
    configured = os.environ.get("HANDFAST_CACHE")
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = (Path(configured) if configured else user_cache / "handfast").resolve() / "cluster"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
