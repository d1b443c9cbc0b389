"""The links between our pages, as GitHub shows them: each leads to a file, and to a heading in it. Pure.

mkdocs checks those of docs/ again, as the site has them; README and its neighbours are no pages of the site.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

_FENCE: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_SPAN: Final = re.compile(r"`[^`\n]*`")
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_OUTSIDE: Final = re.compile(r"https?://\S+?(?=[)\s>`\"',;]|$)")


@dataclass(frozen=True)
class Broken:
    """A link that leads nowhere."""

    page: str
    target: str
    why: str

    def __str__(self) -> str:
        return f"{self.page}: {self.target}: {self.why}"


def broken(pages: Mapping[str, str], others: frozenset[str]) -> list[Broken]:
    """pages: text by path from the root; others: paths of files that are no pages, such as pictures."""
    anchors = {path: headings(text) for path, text in pages.items()}
    found = []
    for path, text in pages.items():
        for target in _LINK.findall(_SPAN.sub("", _FENCE.sub("", text))):
            if not target.startswith(("http://", "https://", "mailto:")):
                why = _why(path, target, anchors, others)
                found += [Broken(path, target, why)] if why else []
    return found


def _why(page: str, target: str, anchors: Mapping[str, list[str]], others: frozenset[str]) -> str:
    name, _, anchor = target.partition("#")
    path = _joined(page, name) if name else page
    if path is None or (path not in anchors and path not in others):
        return "there is no such file"
    if page.startswith("docs/") and not path.startswith("docs/"):
        return "a page of the site cannot lead out of docs/"
    if anchor and anchors.get(path, []).count(anchor) != 1:
        return "there is not one heading of that name"
    return ""


def _joined(page: str, name: str) -> str | None:
    parts: list[str] = list(PurePosixPath(page).parent.parts)
    for each in PurePosixPath(name).parts:
        if each != "..":
            parts.append(each)
        elif parts:
            parts.pop()
        else:
            return None
    return "/".join(parts)


def headings(text: str) -> list[str]:
    """The anchors of a page, by GitHub's rule."""
    return [_slug(each) for each in _HEADING.findall(_FENCE.sub("", text))]


def _slug(heading: str) -> str:
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


def outside(pages: Mapping[str, str]) -> dict[str, list[str]]:
    """Addresses outside, with the pages that name them; not those that are made up (`.example`, `.shop`, one label)."""
    found: dict[str, list[str]] = {}
    for path, text in pages.items():
        for address in sorted(set(_OUTSIDE.findall(text))):
            host = address.partition("://")[2].partition("/")[0].partition(":")[0]
            if (
                "." in host
                and not host.endswith((".example", ".local", ".svc", ".shop"))
                and not re.fullmatch(r"[\d.]+", host)
            ):
                found.setdefault(address, []).append(path)
    return found
