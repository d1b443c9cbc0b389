"""Fields of a line of JSON, each read as what it must be; anything else raises BadMessage, a missing one KeyError."""

from typing import Any, Final

from handfast_sidecar.config.ports import is_port, port_number
from handfast_sidecar.errors import BadMessage

Json = dict[str, Any]
_MAX_COUNT: Final = (1 << 63) - 1
"""What fits a signed 64-bit number, as other readers of evidence have it."""
_MAX_TIME: Final = 253_402_300_799.0
"""The last second of the year 9999: what comes later is no time of a connection."""


def text(document: Json, name: str) -> str:
    """A string."""
    value = document[name]
    if not isinstance(value, str):
        raise BadMessage(f"{name}: expected a string, found {value!r}")
    return value


def texts(document: Json, name: str) -> tuple[str, ...]:
    """A list of strings."""
    values = document[name]
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise BadMessage(f"{name}: expected a list of strings, found {values!r}")
    return tuple(values)


def number(document: Json, name: str) -> int:
    """A whole number; `true` is none."""
    value = document[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadMessage(f"{name}: expected a whole number, found {value!r}")
    return value


def port_of(value: object) -> int:
    """A port, from its number or, as a key of JSON must be, its digits."""
    port = port_number(value) if isinstance(value, str) else value
    if not is_port(port):
        raise BadMessage(f"{value!r} is no port number")
    return port


def count(document: Json, name: str) -> int:
    """A number of something; 0 where it is left out."""
    value = document.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_COUNT:
        raise BadMessage(f"{name}: expected a count, found {value!r}")
    return value


def counts(document: Json, name: str) -> dict[str, int]:
    """Counts by reason; none where they are left out."""
    found = document.get(name, {})
    if not isinstance(found, dict):
        raise BadMessage(f"{name}: expected counts by reason, found {found!r}")
    return {reason: count(found, reason) for reason in found}


def unix_time(document: Json, name: str) -> float:
    """Unix time; 0 where it is left out."""
    value = document.get(name, 0.0)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= _MAX_TIME:
        raise BadMessage(f"{name}: expected seconds of Unix time, found {value!r}")
    return float(value)
