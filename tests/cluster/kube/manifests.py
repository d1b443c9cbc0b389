"""Kubernetes objects as kubectl takes them: plain JSON."""

import json
from collections.abc import Iterable
from typing import Any, TypeAlias

Manifest: TypeAlias = dict[str, Any]
"""An object of the API. Its shape is the API's to check, and it does."""


def to_text(objects: Manifest | Iterable[Manifest]) -> str:
    """One document that kubectl reads, of one object or many."""
    if isinstance(objects, dict):
        return json.dumps(objects)
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
