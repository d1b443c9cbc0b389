"""What a check has to say: how bad it is, about which object, in which words, and what to do."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PAGE: Final = "docs/checks.md"


class Level(StrEnum):
    """How bad it is; the words are promises (docs/checks.md)."""

    OK = "ok"
    WARNING = "warning"
    """Works, and somebody should look at it before it does not."""
    ERROR = "error"
    """Does not work, or does not protect."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a check has found."""

    level: Level
    object: str
    """Kind and name, such as `Deployment handfast-system/handfast-webhook`."""
    message: str
    """What happened, as a sentence without its full stop."""
    remedy: str
    """What to do: a command where there is one."""


def error(about: str, message: str, remedy: str) -> Problem:
    """Of something that does not work."""
    return Problem(Level.ERROR, about, message, remedy)


def warning(about: str, message: str, remedy: str) -> Problem:
    """Of something that works still."""
    return Problem(Level.WARNING, about, message, remedy)


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem under the word of its check, or that a check has found none."""

    check: str
    """Stable, kebab-case: the anchor in docs/checks.md."""
    level: Level
    object: str
    message: str
    remedy: str = ""

    @property
    def link(self) -> str:
        """Where symptom, cause and remedy are described."""
        return f"{PAGE}#{self.check}"


@dataclass(frozen=True, slots=True)
class Unseen:
    """A check that could not look: it says neither yes nor no."""

    check: str
    message: str
    """What it did not get, and why."""
