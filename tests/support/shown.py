"""Commands and manifests that a page shows; commands stand in blocks and within sentences, and are taken apart. Pure.

Within a sentence there may be no more than a verb (`kubectl describe` says why).
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import yaml

_PROGRAMS: Final = ("handfast ", "kubectl ", "helm ")
_SPAN: Final = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_MANIFEST: Final = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OPTIONAL: Final = re.compile(r"[][]")
_CONTROL: Final = frozenset("|&;<>")
_VALUED: Final = frozenset(
    ("-n", "--namespace", "-c", "--container", "-l", "--selector", "-o", "-p", "--field-selector", "--as", "--raw")
)
"""Options of kubectl whose value is the next word."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One command of a page."""

    line: int
    """In the page, from 1."""
    words: tuple[str, ...]
    grep: str = ""
    """The pattern, where what it prints goes into grep."""

    def __str__(self) -> str:
        return f"line {self.line}: {shlex.join(self.words)}"


@dataclass(frozen=True, slots=True)
class KubectlLine:
    """What kubectl is asked."""

    words: tuple[str, ...]
    """Without options: the verb, and what it is about."""
    options: dict[str, str]
    """By their names, as they are written; empty where they have no value."""


def shown(page: str, program: str) -> list[Shown]:
    """All commands of a program, in their order."""
    return [each for each in _all(page) if each.words[0] == program]


def kubectl_line(words: Sequence[str]) -> KubectlLine:
    """`kubectl WORDS...` with options and words apart."""
    plain: list[str] = []
    options: dict[str, str] = {}
    rest = iter(words[1:])
    for word in rest:
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            plain.append(word)
        elif equals:
            options[name] = value
        else:
            options[word] = next(rest, "") if word in _VALUED else ""
    return KubectlLine(tuple(plain), options)


def manifest(page: str, kind: str) -> dict[str, Any]:
    """The one manifest of this kind that a page shows. ValueError: there is none, or another."""
    documents = [each for block in _MANIFEST.findall(page) for each in yaml.safe_load_all(block)]
    [found] = [each for each in documents if isinstance(each, dict) and each.get("kind") == kind]
    return found


def _all(page: str) -> Iterator[Shown]:
    fenced = False
    for number, line in enumerate(page.splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
            continue
        told = [line.strip().removeprefix("$ ")] if fenced or line.startswith("    ") else _SPAN.findall(line)
        for text in told:
            if text.startswith(_PROGRAMS) and "..." not in text:
                yield _taken_apart(number, text)


def _taken_apart(number: int, text: str) -> Shown:
    lexer = shlex.shlex(text.removesuffix("\\"), posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    with suppress(ValueError):  # a quotation that ends in a later line
        for word in lexer:
            if set(word) <= _CONTROL:
                parts.append([])
            else:
                parts[-1].append(word)
    first, *others = parts
    if first[0] == "handfast":
        first = [_OPTIONAL.sub("", word) for word in first]
    patterns = [part[-1] for part in others if part[:1] == ["grep"]]
    return Shown(number, tuple(first), patterns[0] if patterns else "")
