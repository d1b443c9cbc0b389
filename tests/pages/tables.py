"""Tables of Markdown. Pure."""

import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Of cells that are Markdown already."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("| --- ", "|---").replace("|--- |", "|---|")


def code(text: object) -> str:
    """As a word that is typed."""
    return f"`{str(text).replace('|', chr(92) + '|')}`"


def cell(text: str) -> str:
    """Words for people, in a cell: neither bars nor what would be taken for HTML."""
    joined = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"(?<!\\)\|", r"\\|", joined).replace("<", "&lt;").replace("*", "\\*")
