"""Where the pods are in an object: a Pod itself, the template of what makes pods, and each of a List. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]
Raw = Mapping[str, Any]
Path = tuple[str | int, ...]
_TEMPLATE: Final = ("spec", "template")
TEMPLATES: Final[Mapping[tuple[str, str], Path]] = {
    ("", "Pod"): (),
    ("", "PodTemplate"): ("template",),
    ("", "ReplicationController"): _TEMPLATE,
    ("apps", "Deployment"): _TEMPLATE,
    ("apps", "StatefulSet"): _TEMPLATE,
    ("apps", "DaemonSet"): _TEMPLATE,
    ("apps", "ReplicaSet"): _TEMPLATE,
    ("batch", "Job"): _TEMPLATE,
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
}
"""By API group and kind: another group may have a kind of the same name that is something else."""


@dataclass(frozen=True, slots=True)
class Place:
    """A pod, or a template of pods, within an object."""

    path: Path
    kind: str
    namespace: str
    """Empty: it names none."""
    name: str
    once: bool
    """Whether it becomes one pod at most: a Pod that has its name already."""
    pod: Raw

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    def as_pod(self, namespace: str) -> Json:
        """As it is created: of a template with the beginning of the name that its pods get."""
        found = self.pod.get("metadata")
        meta = dict(found) if isinstance(found, Mapping) else {}
        if self.kind != "Pod":
            meta = {"generateName": f"{self.name}-", **meta}
        return {**self.pod, "apiVersion": "v1", "kind": "Pod", "metadata": {**meta, "namespace": namespace}}


def places(document: Any, path: Path = (), item_of: str = "") -> Iterator[Place]:
    """All of them, in the order in which they stand there. `item_of`: the kind of List that it was found in."""
    if not isinstance(document, Mapping):
        return
    kind, version = str(document.get("kind") or item_of), str(document.get("apiVersion") or "")
    items = document.get("items")
    if kind.endswith("List") and isinstance(items, Sequence) and not isinstance(items, str):
        for index, each in enumerate(items):
            yield from places(each, (*path, "items", index), kind.removesuffix("List"))
        return
    group = version.rpartition("/")[0]
    where = TEMPLATES.get((group, kind))
    if where is None and item_of and not version:
        # Items of a DeploymentList, as the API server has them, do not say what they are.
        where = next((each for (_group, named), each in TEMPLATES.items() if named == kind), None)
    pod = _at(document, where) if where is not None else None
    if where is None or not isinstance(pod, Mapping):
        return
    meta = document.get("metadata")
    meta = meta if isinstance(meta, Mapping) else {}
    name = str(meta.get("name") or meta.get("generateName") or "(without a name)")
    once = kind == "Pod" and bool(meta.get("name"))
    yield Place((*path, *where), kind, str(meta.get("namespace") or ""), name, once, pod)


def replaced(document: Any, path: Path, value: Any) -> Any:
    """A copy of the document with another value at this path; what is beside the path is shared."""
    if not path:
        return value
    copy: Any = list(document) if isinstance(document, list) else dict(document)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


def _at(document: Any, path: Path) -> Any:
    for name in path:
        document = document.get(name) if isinstance(document, Mapping) else None
    return document
