"""docs/first-hour.md: what somebody typed who followed docs/install.md, and how long it took. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.typist import Typed

DOCS: Final = Path(__file__).parents[2] / "docs"
INSTALL: Final = DOCS / "install.md"
PAGE: Final = DOCS / "first-hour.md"
MOST_LINES: Final = 12
"""Of what a command printed that the page shows."""

HEAD: Final = """# The first hour

What a new user types, in this order, and how long it took: the commands of [install](install.md), as they stand there,
typed by `tests/cluster/kubernetes/test_first_hour.py` on a Kubernetes that had never heard of Handfast, in which a
namespace `shop` ran `cart` and `orders`. `make first-hour` writes this page from such a run.

"""
LEFT_OUT: Final = (
    """Time to read and to think is not in it. The images were there already, as on a node that has pulled them once."""
)


@dataclass(frozen=True)
class Step:
    """A section of docs/install.md."""

    title: str
    typed: tuple[Typed, ...]

    @property
    def seconds(self) -> float:
        """Of all its commands."""
        return sum(each.seconds for each in self.typed)


def render(steps: Sequence[Step], where: str) -> str:
    """The page. `where`: the machine and versions, a sentence."""
    lines = ["| step | commands | time |", "|---|---|---|"]
    lines += [f"| {each.title} | {len(each.typed)} | {_time(each.seconds)} |" for each in steps]
    commands = sum(len(each.typed) for each in steps)
    lines.append(f"| **all of it** | **{commands}** | **{_time(sum(each.seconds for each in steps))}** |")
    parts = [HEAD + where + "\n" + LEFT_OUT, "\n".join(lines)]
    return "\n\n".join([*parts, *map(_section, steps)]) + "\n"


def _section(step: Step) -> str:
    shown = []
    for each in step.typed:
        printed = each.printed.rstrip("\n").splitlines()
        if len(printed) > MOST_LINES:
            printed = [*printed[:MOST_LINES], f"... ({len(printed) - MOST_LINES} lines more)"]
        shown.append("\n".join([f"$ {_with_input(each)}", *map(str.rstrip, printed), f"# {_time(each.seconds)}"]))
    return f"## {step.title}\n\n```text\n" + "\n\n".join(shown) + "\n```"


def _with_input(typed: Typed) -> str:
    given = typed.command.given
    return f"{typed.command.words} <<EOF\n{given}EOF" if given else typed.command.words


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s"
