"""docs/names.md: ports, labels, annotations, files, users, environment, from the constants that the code uses. Pure."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pages.reading import Constant, Module, constants, modules
from pages.tables import cell, code, table

HEAD: Final = """# Every name

Made by `make reference` from the source, and compared with it by a test: what other programs may depend on. A
change of one stands in the changelog. How they are used stands [in the reference](reference.md);
metrics have [a page of their own](metrics.md).

"""
WELLKNOWN: Final = "handfast_sidecar.wellknown"


@dataclass(frozen=True)
class Chapter:
    """Constants of one part of one module."""

    title: str
    module: str
    section: str = ""
    """The heading comment; empty: the whole module."""
    prefix: str = ""
    """Of the constants' names."""


CHAPTERS: Final = (
    Chapter("API", WELLKNOWN, "", "API_"),
    Chapter("Ports of a sidecar", WELLKNOWN, "the sidecar's ports, all inside the pod's own network namespace"),
    Chapter("Ports of the operator", WELLKNOWN, "the operator's ports"),
    Chapter("Protocols (ALPN)", WELLKNOWN, "protocols (docs/protocol.md)"),
    Chapter("Users", WELLKNOWN, "users"),
    Chapter("Labels and annotations", WELLKNOWN, "labels and annotations"),
    Chapter("Annotations of a pod's Secret", "handfast_operator.controller.issuance", "", "ANNOTATION_"),
    Chapter("Annotations of an authority's Secret", "handfast_operator.authority.authority_secret", "", "ANNOTATION_"),
    Chapter("Objects of the operator", WELLKNOWN, "the operator's names, in its own namespace"),
    Chapter("In a pod with a sidecar", WELLKNOWN, "in an injected pod"),
    Chapter("Environment of the sidecar", WELLKNOWN, "environment of the proxy container, written by the webhook"),
    Chapter(
        "Environment of the init container", WELLKNOWN, "environment of the init container, written by the webhook"
    ),
)


def render() -> str:
    """The page. ValueError: a constant has no sentence below it, or stands in no chapter."""
    parts = [f"## {each.title}\n\n{_rows(chosen(each))}" for each in CHAPTERS]
    missing = {each.name for each in constants(_module(WELLKNOWN))} - {
        found.name for each in CHAPTERS for found in chosen(each)
    }
    if missing:
        raise ValueError(f"of wellknown.py, in no chapter of the page: {', '.join(sorted(missing))}")
    operator = table(("name", "meaning"), ((code(name), cell(said)) for name, said in sorted(operators())))
    return HEAD + "\n".join([*parts, f"## Environment of the operator\n\n{operator}"])


def chosen(chapter: Chapter) -> list[Constant]:
    """What stands in it."""
    return [
        each
        for each in constants(_module(chapter.module))
        if each.name.startswith(chapter.prefix) and (each.section == chapter.section or chapter.prefix)
    ]


def operators() -> Iterator[tuple[str, str]]:
    """What the chart writes into the environment of each role, with what it sets."""
    [settings] = [
        node
        for node in _module("handfast_operator.settings").tree.body
        if isinstance(node, ast.ClassDef) and node.name == "Settings"
    ]
    said: dict[str, str] = {}
    for each, after in zip(settings.body, settings.body[1:], strict=False):
        match each, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                said[name] = text
            case _:
                pass
    for node in ast.walk(settings):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "cls":
            for keyword in node.keywords:
                for name in _variables(keyword.value):
                    yield name, said[str(keyword.arg)]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            field = {"ranges": "cluster_ranges", "log_level": "log_level"}.get(node.targets[0].id)
            for name in _variables(node.value) if field else ():
                yield name, said[str(field)]


def _variables(node: ast.expr) -> list[str]:
    found = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}
    return sorted(name for name in found if name.startswith("HANDFAST_"))


def _module(name: str) -> Module:
    return next(each for each in modules() if each.name == name)


def _rows(found: Iterable[Constant]) -> str:
    rows = []
    for each in found:
        if not each.meaning:
            raise ValueError(f"{each.name} = {each.value!r} has no sentence below it that says what it is")
        rows.append((code(each.value), cell(each.meaning)))
    return table(("name", "meaning"), rows)
