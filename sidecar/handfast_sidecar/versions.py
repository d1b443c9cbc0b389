"""Which version of a protocol two sides speak. Pure.

Each side says the range that it speaks, and both use the highest that they have in common. The one rule: the lowest
stands where Handfast 0.1.0 has its only version, and the highest in a field that 0.1.0 passes over. So whoever still
speaks version 1 is understood by 0.1.0, and who speaks nothing else says the very bytes that 0.1.0 says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from handfast_sidecar import __version__

NO_COMMON_VERSION: Final = "no_common_version"
"""The reason of whatever ends because there is none."""
UP_TO: Final = "upTo"
"""Left out where there is one version only."""
_NAMED: Final = 40
"""Characters of a release's name, of which a peer may say anything."""


@dataclass(frozen=True, slots=True)
class Versions:
    """All from `lowest` to `highest`, both included."""

    lowest: int
    highest: int

    def common(self, other: "Versions") -> int | None:
        """The version to use; None: there is none that both speak."""
        highest = min(self.highest, other.highest)
        return highest if highest >= max(self.lowest, other.lowest) else None

    def to_json(self, name: str) -> dict[str, int]:
        """Fields of a first line; the lowest is called `name`."""
        return {name: self.lowest} | ({UP_TO: self.highest} if self.highest != self.lowest else {})

    @classmethod
    def from_json(cls, document: Mapping[str, Any], name: str) -> "Versions":
        """The inverse. Raises KeyError and ValueError."""
        lowest, highest = document[name], document.get(UP_TO, document[name])
        if type(lowest) is not int or type(highest) is not int or not 1 <= lowest <= highest:
            raise ValueError(f"no range of versions: {name} {lowest!r}, {UP_TO} {highest!r}")
        return cls(lowest, highest)

    def __str__(self) -> str:
        return str(self.lowest) if self.lowest == self.highest else f"{self.lowest} to {self.highest}"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two, as a refusal speaks of it."""

    name: str
    """As in "the directory"."""
    speaks: Versions
    remedy: str
    """What to do when it is the one that is too old."""
    release: str = __version__
    """Of Handfast."""

    def __str__(self) -> str:
        return f"{self.name} (Handfast {self.release[:_NAMED]}) speaks {self.speaks}"


def no_common(protocol: str, one: Side, other: Side) -> str:
    """Why two that have no version in common part: who is too old, and what to do."""
    old = one if one.speaks.highest < other.speaks.lowest else other
    return f"there is no version of {protocol} in common: {one}, {other}; {old.name} is too old: {old.remedy}"
