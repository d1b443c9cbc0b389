"""Events have two faces: core v1, which is stored, and events.k8s.io/v1. Pure."""

from typing import Any, Final

Json = dict[str, Any]
_NAMES: Final = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_BACK: Final = {new: old for old, new in _NAMES.items()}


def to_core(found: Json) -> Json:
    """As it is stored."""
    if found.get("apiVersion") != "events.k8s.io/v1":
        return found
    return {_BACK.get(name, name): value for name, value in found.items()} | {"apiVersion": "v1"}


def to_group(found: Json) -> Json:
    """As events.k8s.io/v1 shows it."""
    return {_NAMES.get(name, name): value for name, value in found.items()} | {"apiVersion": "events.k8s.io/v1"}
