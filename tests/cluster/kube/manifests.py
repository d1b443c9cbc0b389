"""Kubernetes objects as kubectl takes them: plain JSON."""

import json
from collections.abc import Iterable
from typing import Any, TypeAlias

Manifest: TypeAlias = dict[str, Any]
"""An object of the API. Its shape is the API's to check, and it does."""


def to_text(objects: Manifest | Iterable[Manifest]) -> str:
    """YAML documents that kubectl reads. No List: kubectl would check one itself, in other words than the server's."""
    return "\n---\n".join(map(json.dumps, [objects] if isinstance(objects, dict) else objects))
