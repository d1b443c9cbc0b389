"""How objects are shown: the server's tables, laid out as kubectl does, and JSON or YAML with sorted keys. Pure."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import yaml

Json = dict[str, Any]
_TEXT: Final = "tag:yaml.org,2002:str"
_LEAST: Final = 6
_GAP: Final = 3
"""tabwriterMinWidth and tabwriterPadding of k8s.io/cli-runtime/pkg/printers."""


def lines(rows: Iterable[Sequence[str]], widths: list[int]) -> list[str]:
    """Rows in columns. `widths` are remembered: columns of a watch grow, and never shrink."""
    given = [list(row) for row in rows]
    for row in given:
        widths += [_LEAST] * (len(row) - len(widths))
        for index, cell in enumerate(row[:-1]):
            widths[index] = max(widths[index], len(cell) + _GAP)
    return ["".join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)), *row[-1:]])
            for row in given]  # fmt: skip


def cells(table: Json, *, wide: bool, namespaces: bool, headers: bool, prefix: str = "") -> list[list[str]]:
    """The rows of a Table. `prefix`: before each name, where several kinds are shown."""
    columns = table.get("columnDefinitions") or ()
    chosen = [index for index, column in enumerate(columns) if wide or not column.get("priority")]
    rows = [[str(columns[index]["name"]).upper() for index in chosen]] if headers else []
    if namespaces and headers:
        rows[0].insert(0, "NAMESPACE")
    for each in table.get("rows") or ():
        row = [_cell(each["cells"][index]) for index in chosen]
        row[0] = prefix + row[0]
        rows.append([each["object"]["metadata"].get("namespace", ""), *row] if namespaces else row)
    return rows


def shown(found: Json, form: str) -> str:
    """An object as `json` or `yaml`, without who owns which field."""
    found = _without_owners(found)
    if form == "json":
        return json.dumps(found, indent=4, sort_keys=True, ensure_ascii=False)
    return as_yaml(found).rstrip("\n")


def as_yaml(found: Any) -> str:
    """As kubectl writes it: texts of several lines as blocks, texts that look like something else in double quotes."""
    return yaml.dump(found, Dumper=_Dumper, default_flow_style=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's own signature
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    plain = dumper.resolve(yaml.ScalarNode, value, (True, False)) == _TEXT  # type: ignore[no-untyped-call] # in its stubs
    if not plain or any(each in value for each in "\x85\u2028\u2029"):
        return yaml.ScalarNode(_TEXT, value, style='"')
    return yaml.ScalarNode(_TEXT, value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    first = text.splitlines()[0] if text else ""
    return first if first == text else f"{first}..."


def _without_owners(found: Json) -> Json:
    if "items" in found:
        return found | {"items": [_without_owners(each) for each in found["items"]]}
    meta = {name: value for name, value in (found.get("metadata") or {}).items() if name != "managedFields"}
    return found | {"metadata": meta}
