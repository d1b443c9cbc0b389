"""Manifests as people write them, YAML or JSON, one after another: read, changed in places, and written again.

The one rule: a document in which nothing changes is passed on byte for byte; in one that changes, comments, order and
quotes of what is beside the change stay as ruamel.yaml keeps them.
"""

import io
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

from handfast_operator.admission.patch import difference
from handfast_operator.cli.errors import USAGE, CliError

STDIN: Final = "-"
_SUFFIXES: Final = (".json", ".yaml", ".yml")
"""Of the files of a folder, as kubectl takes them."""
_SEPARATOR: Final = re.compile(r"^---(?=[ \t\r\n]|$)", re.MULTILINE)
"""YAML 1.2, 9.1.2: nothing within a document may stand so at the start of a line."""
_DIRECTIVES: Final = re.compile(r"(?:(?:#[^\n]*)?\n)*%[^\n]*\n(?:(?:[#%][^\n]*)?\n)*")
_HEAD: Final = re.compile(r"\A---[ \t]*(?:#[^\n]*)?\r?\n")
_IN_LIST: Final = re.compile(r"^( *)[^\s#-][^\n#]*:[ \t]*\n(?:[ \t]*(?:#[^\n]*)?\n)*( *)- ", re.MULTILINE)
_IN_MAP: Final = re.compile(r"^( *)[^\s#-][^\n#]*:[ \t]*\n( +)[^\s#-]", re.MULTILINE)
_WIDTH: Final = 1 << 16
"""Characters after which a line would be folded: none is."""
_NOT_OF_KUBECTL: Final = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as kubectl reads it: what looks like a time stays text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag not in _NOT_OF_KUBECTL]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True)
class Document:
    """One of a stream."""

    text: str
    """As it stands there, with the line that separates it from the one before."""
    value: Any
    """As kubectl understands it; None: nothing is in it."""
    source: str
    is_json: bool

    def changed(self, value: Any) -> str:
        """The text with another value. Raises CliError."""
        operations = difference(self.value, value)
        if not operations:
            return self.text
        if self.is_json:
            return json.dumps(value, indent=4, ensure_ascii=False) + "\n"
        try:
            return _edited(self.text, operations)
        except YAMLError as error:
            raise CliError(f"{self.source}: {_short(error)}", USAGE) from error


def read(names: Sequence[str]) -> list[Document]:
    """Of files, folders, and `-` for standard input. Raises CliError."""
    found: list[Document] = []
    for name in names:
        try:
            for path in _files(name):
                text = sys.stdin.read() if path is None else path.read_text()
                found += parse(text, "standard input" if path is None else str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise CliError(f"{name} cannot be read: {error}", USAGE) from error
    return found


def parse(text: str, source: str) -> list[Document]:
    """The documents of a stream. Raises CliError."""
    if text.lstrip().startswith("{"):
        documents = _json(text, source)
        if documents:
            return documents
    starts = [each.start() for each in _SEPARATOR.finditer(text)]
    if starts and _DIRECTIVES.fullmatch(text, 0, starts[0]):
        starts = starts[1:]  # they belong to the document behind them
    bounds = sorted({0, *starts, len(text)})
    found: list[Document] = []
    for low, high in pairwise(bounds):
        chunk = text[low:high]
        try:
            value = yaml.load(chunk, _Loader)  # noqa: S506 - it is a safe one
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise CliError(f"{source}: {_short(error)}", USAGE) from error
        if value is not None and not isinstance(value, dict):
            raise CliError(f"{source}: a document is a {type(value).__name__}, and no object of Kubernetes'", USAGE)
        found.append(Document(chunk, value, source, is_json=False))
    return found


def joined(texts: Sequence[str], *, is_json: bool) -> str:
    """One stream of all, with a separator where files met that have none."""
    parts: list[str] = []
    for text in texts:
        if parts and not parts[-1].endswith("\n"):
            parts.append("\n")
        if parts and not is_json and not _SEPARATOR.match(text):
            parts.append("---\n")
        parts.append(text)
    return "".join(parts)


def _files(name: str) -> Iterator[Path | None]:
    if name == STDIN:
        yield None
    elif Path(name).is_dir():
        yield from sorted(each for each in Path(name).iterdir() if each.suffix in _SUFFIXES)
    else:
        yield Path(name)


def _json(text: str, source: str) -> list[Document]:
    """JSON documents, one after another; none: it is YAML that begins with a brace."""
    found: list[Document] = []
    decoder, place = json.JSONDecoder(), 0
    try:
        while place < len(text):
            start = len(text) - len(text[place:].lstrip())
            if start == len(text) and found:
                found[-1] = replace(found[-1], text=found[-1].text + text[place:])
                break
            value, end = decoder.raw_decode(text, start)
            if not isinstance(value, dict):
                return []
            found.append(Document(text[place:end], value, source, is_json=True))
            place = end
    except (ValueError, RecursionError):
        return []
    return found


def _short(error: Exception) -> str:
    """Where and what, in a line."""
    return " ".join(str(error).split())


# --- changes in the text


def _edited(text: str, operations: Sequence[Mapping[str, Any]]) -> str:
    head = _HEAD.match(text)
    before = head[0] if head else ""
    body = text[len(before) :]
    end = len(body.rstrip())
    body, after = body[:end] + "\n", body[end:]
    writer = _writer(body)
    if not head and _SEPARATOR.match(body):
        writer.explicit_start = True
    tree = writer.load(body)
    for operation in operations:
        _apply(tree, operation)
    written = io.StringIO()
    writer.dump(tree, written)
    return before + written.getvalue().rstrip() + (after or "\n")


def _writer(body: str) -> YAML:
    """It indents as the text does."""
    writer = YAML(typ="rt")
    writer.preserve_quotes = True
    writer.width = _WIDTH
    in_map, in_list = _IN_MAP.search(body), _IN_LIST.search(body)
    mapping = max(1, len(in_map[2]) - len(in_map[1])) if in_map else 2
    offset = max(0, len(in_list[2]) - len(in_list[1])) if in_list else 0
    writer.indent(mapping=mapping, sequence=offset + 2, offset=offset)
    return writer


def _apply(tree: Any, operation: Mapping[str, Any]) -> None:
    """An operation as `difference` makes it (RFC 6902)."""
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    shared = _shared(tree)
    target = tree
    for part in parents:
        name = int(part) if isinstance(target, CommentedSeq) else part
        if id(target[name]) in shared or getattr(target[name], "merge", None):
            # The other places of an anchor (`&labels`) must not change with this one.
            target[name] = _own(target[name])
        target = target[name]
    name = int(last) if isinstance(target, CommentedSeq) else last
    if operation["op"] == "remove":
        del target[name]
    elif operation["op"] == "add" and isinstance(target, CommentedSeq):
        target.insert(name, _written(operation["value"]))
    else:
        target[name if isinstance(name, int) or name in target else _written(name)] = _written(operation["value"])


def _shared(tree: Any) -> set[int]:
    """What stands in more than one place."""
    seen: set[int] = set()
    twice: set[int] = set()
    rest = [tree]
    while rest:
        each = rest.pop()
        if not isinstance(each, CommentedMap | CommentedSeq):
            continue
        if id(each) in seen:
            twice.add(id(each))
            continue
        seen.add(id(each))
        rest += list(each.values()) if isinstance(each, CommentedMap) else list(each)
    return twice


def _own(node: Any) -> Any:
    """A copy that belongs to one place, without the anchor and with what it merged."""
    if isinstance(node, CommentedMap):
        copy: Any = CommentedMap({name: node[name] for name in node})
    else:
        copy = CommentedSeq(node)
    if node.fa.flow_style():
        copy.fa.set_flow_style()
    return copy


def _written(value: Any) -> Any:
    """Plain data as ruamel.yaml writes it in the order in which it is, and as YAML 1.1 reads it back."""
    if isinstance(value, Mapping):
        return CommentedMap({_written(name): _written(each) for name, each in value.items()})
    if isinstance(value, list):
        return CommentedSeq([_written(each) for each in value])
    if isinstance(value, str) and not _plain(value):
        # JSON within YAML is read more easily without a backslash before each quote.
        return (SingleQuotedScalarString if '"' in value and "\n" not in value else DoubleQuotedScalarString)(value)
    return value


def _plain(text: str) -> bool:
    """Whether it stays the same text without quotes."""
    try:
        return bool(yaml.load(text, _Loader) == text)  # noqa: S506 - it is a safe one
    except yaml.YAMLError:
        return True  # such as braces: ruamel.yaml quotes those itself
