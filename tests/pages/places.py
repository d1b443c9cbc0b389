"""Where the pages are, and what they are made from."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
CRDS: Final = ROOT / "crds"
SOURCES: Final = (ROOT / "sidecar" / "handfast_sidecar", ROOT / "operator" / "handfast_operator")
