"""Objects from files, folders and standard input: YAML of many documents, JSON, and Lists.

JSON is read as the YAML that it is; dates stay the text that they are.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, TextIO

import yaml

from handfast_lab.kubectl.kinds import Kind
from handfast_lab.kubectl.refusals import Refusal, Stop
from handfast_lab.kubectl.session import Session
from handfast_lab.kubectl.targets import Target

Json = dict[str, Any]
_SUFFIXES: Final = (".json", ".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of a file."""

    source: str
    kind: Kind
    namespace: str
    body: Json

    @property
    def target(self) -> Target:
        """Where it goes, or is."""
        return Target(self.kind, self.namespace, self.body["metadata"].get("name", ""))


def manifests(session: Session, problems: list[Stop | Refusal]) -> Iterator[Manifest]:
    """What `-f` names; an object that cannot be used is added to `problems`. Raises Stop for a file that cannot."""
    given = session.line.all("filename")
    if not given:
        raise Stop("error: must specify one of -f and -k")
    found = False
    for source, body in [each for name in given for each in _read(name, session.stdin)]:
        found = True
        try:
            yield _manifest(session, source, body)
        except (Refusal, Stop) as problem:
            problems.append(problem)
    if not found:
        raise Stop(f"error: no objects passed to {session.line.verb}")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # one of two, by what is built
    yaml_implicit_resolvers: ClassVar = {
        first: [each for each in resolvers if each[0] != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def parse(text: str, source: str) -> Iterator[Json]:
    """The objects of a text. Raises Stop."""
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise Stop(f"error: error parsing {source}: error converting YAML to JSON: yaml: {error}") from error
    for each in documents:
        yield from _flat(each, source)


def _read(name: str, stdin: TextIO) -> Iterator[tuple[str, Json]]:
    if name == "-":
        yield from (("STDIN", each) for each in parse(stdin.read(), "STDIN"))
        return
    path = Path(name)
    if not path.exists():
        raise Stop(f'error: the path "{name}" does not exist')
    files = [path] if path.is_file() else sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES)
    for each in files:
        yield from ((str(each), body) for body in parse(each.read_text(), str(each)))


def _flat(found: Any, source: str) -> Iterator[Json]:
    if found is None:
        return
    if not isinstance(found, dict):
        raise Stop(f"error: error parsing {source}: this is no object: {json.dumps(found)[:80]}")
    if str(found.get("kind", "")).endswith("List") and isinstance(found.get("items"), list):
        for each in found["items"]:
            yield from _flat(each, source)
    else:
        yield found


def _manifest(session: Session, source: str, body: Json) -> Manifest:
    missing = [f"{each} not set" for each in ("apiVersion", "kind") if not body.get(each)]
    if missing:
        said = missing[0] if len(missing) == 1 else f"[{', '.join(missing)}]"
        raise Stop(
            f'error: error validating "{source}": error validating data: {said};'
            " if you choose to ignore these errors, turn validation off with --validate=false"
        )
    body = body | {"metadata": body.get("metadata") or {}}
    name, own = body["metadata"].get("name", ""), body["metadata"].get("namespace", "")
    kind = session.kinds.of(body)
    if kind is None:
        raise Stop(
            f'error: resource mapping not found for name: "{name}" namespace: "{own}" from "{source}": no matches for'
            f' kind "{body["kind"]}" in version "{body["apiVersion"]}"\nensure CRDs are installed first'
        )
    if not kind.namespaced:
        return Manifest(source, kind, "", body)
    asked = session.line.one("namespace")
    if own and asked and own != asked:
        raise Stop(
            f'error: the namespace from the provided object "{own}" does not match the namespace "{asked}".'
            f" You must pass '--namespace={own}' to perform this operation."
        )
    namespace = own or session.namespace
    return Manifest(source, kind, namespace, body | {"metadata": body["metadata"] | {"namespace": namespace}})
