"""Constants and calls of our own source, read without running it. Pure but for reading the files.

One rule: what cannot be read as a word of the source is left out, never guessed.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from pages.places import SOURCES


@dataclass(frozen=True)
class Constant:
    """`NAME: Final = value`, with the string below it."""

    name: str
    value: object
    meaning: str
    section: str
    """The heading comment (`# --- ...`) that it stands under."""


@dataclass(frozen=True)
class Module:
    """One file."""

    name: str
    tree: ast.Module
    text: str
    words: dict[str, str] = field(default_factory=dict)
    """Its string constants, by name."""

    @cached_property
    def calls(self) -> dict[str, list[list[ast.expr]]]:
        """The arguments of each call, by the last part of what is called; of tuples of two, under the empty name."""
        found: dict[str, list[list[ast.expr]]] = {}
        for node in ast.walk(self.tree):
            match node:
                case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args):
                    found.setdefault(name, []).append(args)
                case ast.Tuple(elts=[first, second]):
                    found.setdefault("", []).append([first, second])
                case _:
                    pass
        return found


@cache
def modules() -> tuple[Module, ...]:
    """All of sidecar and operator, in the order of their names."""
    found = []
    for root in SOURCES:
        for path in sorted(root.rglob("*.py")):
            text = path.read_text()
            name = ".".join(path.relative_to(root.parent).with_suffix("").parts)
            module = Module(name, ast.parse(text), text)
            module.words.update({each.name: each.value for each in constants(module) if isinstance(each.value, str)})
            found.append(module)
    return tuple(found)


def module_at(path: Path) -> Module:
    """One file by its path."""
    text = path.read_text()
    return Module(path.stem, ast.parse(text), text)


def constants(module: Module) -> Iterator[Constant]:
    """Literal constants at the top of a module, in their order."""
    section = ""
    lines = module.text.splitlines()
    at = 0
    for index, statement in enumerate(module.tree.body):
        for line in lines[at : statement.lineno]:
            if line.startswith("# --- "):
                section = line.removeprefix("# --- ").strip()
        at = statement.lineno
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=value)):
                yield Constant(name, value, _said(module.tree.body[index + 1 : index + 2]), section)
            case _:
                pass


def _said(after: Sequence[ast.stmt]) -> str:
    match after:
        case [ast.Expr(value=ast.Constant(value=str(text)))]:
            return text
        case _:
            return ""


def word(module: Module, node: ast.expr) -> str | None:
    """A string that stands there, or that a constant of this module, or an imported one, is; None: it is computed."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            return module.words.get(name) or _imported(module, name)
        case ast.Attribute(attr=name):
            return _imported(module, name) if name.isupper() else None
        case _:
            return None


def _imported(module: Module, name: str) -> str | None:
    for statement in module.tree.body:
        if isinstance(statement, ast.ImportFrom) and any(
            (each.asname or each.name) == name for each in statement.names
        ):
            return next((each.words.get(name) for each in modules() if each.name == statement.module), None)
    return None


def sentence(node: ast.expr) -> str:
    """What is said, with `<name>` for what is filled in; empty: it is computed elsewhere."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_part(each) for each in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return sentence(left) + sentence(right)
        case _:
            return ""


def _part(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.FormattedValue(value=ast.Name(id=name) | ast.Attribute(attr=name)):
            return f"<{name.strip('_').replace('_', ' ').lower()}>"
        case _:
            return "<...>"
