"""The pages that are made from the source, and all pages as they stand."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import yaml

from pages import fields, names, reasons
from pages.places import CRDS, DOCS, ROOT


def _fields() -> str:
    documents = [yaml.safe_load(path.read_text()) for path in sorted(CRDS.glob("*.yaml"))]
    return fields.render({each["spec"]["names"]["kind"]: each for each in documents})


MADE: Final[Mapping[Path, Callable[[], str]]] = {
    DOCS / "fields.md": _fields,
    DOCS / "names.md": names.render,
    DOCS / "reasons.md": reasons.render,
}


def pages() -> dict[str, str]:
    """All that is Markdown at the root and in docs/, by path."""
    found = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(found)}


def others() -> frozenset[str]:
    """Files that pages may lead to: those beside them, and folders and files at the root."""
    beside = (path for path in DOCS.rglob("*") if path.suffix != ".md")
    return frozenset(path.relative_to(ROOT).as_posix() for path in (*beside, *ROOT.glob("*")) if path.suffix != ".md")
