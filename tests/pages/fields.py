"""docs/fields.md: every field of every custom resource, from the schemas that the API server enforces. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pages.tables import cell, code, table

Schema = Mapping[str, Any]
HEAD: Final = """# Every field

Made by `make reference` from `crds/`, and compared with it by a test. `kubectl explain mtlspolicy.spec` says the
same from the cluster. `[]` stands for each entry of a list. What one means in practice stands in [policy](policy.md),
[certificates](certificates.md), [access](access.md) and [the reference](reference.md).

"""
ORDER: Final = ("MTLSPolicy", "ClusterMTLSPolicy", "TrustDomain", "AccessRequest", "AccessGrant")


def render(definitions: Mapping[str, Schema]) -> str:
    """The page. `definitions`: CustomResourceDefinitions by kind; each of ORDER, and no other."""
    if set(definitions) != set(ORDER):
        raise ValueError(f"the page knows {', '.join(ORDER)}, and not {', '.join(set(definitions) ^ set(ORDER))}")
    return HEAD + "\n".join(_chapter(definitions[kind]) for kind in ORDER)


def _chapter(definition: Schema) -> str:
    spec = definition["spec"]
    names = spec["names"]
    [version] = spec["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    short = ", ".join(map(code, names.get("shortNames", ())))
    where = "of a namespace" if spec["scope"] == "Namespaced" else "of the cluster"
    api = code(f"{spec['group']}/{version['name']}")
    typed = f"`kubectl get {names['plural']}`" + (f", short {short}" if short else "")
    parts = [f"## {names['kind']}\n", f"{schema['description'].strip()} {api}, {where}; {typed}.\n"]
    fields = list(_fields(schema))
    for part in ("spec", "status"):
        rows = [each for each in fields if each[0].removeprefix("`").startswith(part)]
        if rows:
            parts.append(f"### {part.capitalize()} of {names['kind']}\n")
            parts.append(table(("field", "type", "meaning"), rows))
    if refused := list(_rules("", schema)):
        parts.append(f"### What {names['kind']} is refused with\n")
        parts.append(table(("field", "sentence"), refused))
    return "\n".join(parts)


def _fields(schema: Schema) -> Iterator[tuple[str, str, str]]:
    for path, each, needed in _walk("", schema, needed=False):
        if path.startswith(("spec", "status")):
            yield code(path), _type(each), cell(" ".join(filter(None, (_meaning(each), "Needed." if needed else ""))))


def _walk(path: str, schema: Schema, *, needed: bool) -> Iterator[tuple[str, Schema, bool]]:
    if path:
        yield path, schema, needed
    inner = schema
    while "items" in inner:
        path, inner = f"{path}[]", inner["items"]
    required = inner.get("required", ())
    for name, each in inner.get("properties", {}).items():
        yield from _walk(f"{path}.{name}" if path else name, each, needed=name in required)


def _meaning(schema: Schema) -> str:
    said = [str(schema.get("description", "")).strip()]
    if "default" in schema:
        said.append(f"Default: {code(schema['default'])}.")
    return " ".join(filter(None, said))


def _type(schema: Schema) -> str:
    if "items" in schema:
        bounds = _bounds(schema, "minItems", "maxItems")
        return f"list of {_type(schema['items'])}{f', {bounds} entries' if bounds else ''}"
    if "enum" in schema:
        return ", ".join(map(code, schema["enum"]))
    if "additionalProperties" in schema:
        return "labels"
    if schema.get("x-kubernetes-int-or-string"):
        return "number or string"
    match schema.get("type"):
        case "integer":
            bounds = _bounds(schema, "minimum", "maximum")
            return f"number{f', {bounds}' if bounds else ''}"
        case "string" if schema.get("format") == "date-time":
            return "time, RFC 3339"
        case "string":
            bounds = _bounds(schema, "minLength", "maxLength")
            return f"string{f', {bounds} characters' if bounds else ''}"
        case "boolean":
            return "`true` or `false`"
        case other:
            return str(other)


def _bounds(schema: Schema, least: str, most: str) -> str:
    low, high = schema.get(least), schema.get(most)
    if low is not None and high is not None:
        return f"{low:,} to {high:,}"
    if high is not None:
        return f"at most {high:,}"
    return f"at least {low:,}" if low is not None else ""


def _rules(path: str, schema: Schema) -> Iterator[tuple[str, str]]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield code(path or "metadata, spec"), cell(str(rule.get("message", rule["rule"])))
    if "items" in schema:
        yield from _rules(f"{path}[]", schema["items"])
    for name, each in schema.get("properties", {}).items():
        yield from _rules(f"{path}.{name}" if path else name, each)
