"""The objects that a command is about: `pods`, `pods web`, `pod/web`, or all that a selector selects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from handfast_lab.kubectl.kinds import Kind
from handfast_lab.kubectl.refusals import Stop
from handfast_lab.kubectl.session import Session

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """An object, or with an empty name all of a kind; with an empty namespace those of all namespaces."""

    kind: Kind
    namespace: str
    name: str

    def path(self, sub: str = "") -> str:
        """Where it is."""
        return self.kind.path(self.namespace, self.name, sub)

    def __str__(self) -> str:
        return self.kind.told(self.name)


def targets(session: Session, words: Sequence[str]) -> list[Target]:
    """As the words say. Raises Stop, Refusal."""
    if not words:
        raise Stop("error: Required resource not specified.")
    if not any("/" in each for each in words):
        kinds = [session.kinds.named(each) for each in words[0].split(",")]
        return [_target(session, kind, name) for kind in kinds for name in words[1:] or ("",)]
    if not all("/" in each for each in words):
        raise Stop(
            "error: there is no need to specify a resource type as a separate argument when passing arguments in"
            " resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of"
            " 'kubectl get resource resource/<resource_name>'"
        )
    pairs = [each.split("/", 1) for each in words]
    return [_target(session, session.kinds.named(kind), name) for kind, name in pairs]


def objects(session: Session, words: Sequence[str], *, whole: bool = False) -> list[Target]:
    """Each with its name: those of a kind alone are listed, by the selectors. Raises Stop, Refusal.

    `whole`: a kind alone means all of it, even where neither a selector nor `--all` says so.
    """
    found = []
    selecting = whole or session.line.flag("all") or any(selection(session).values())
    for each in targets(session, words):
        if each.name:
            found.append(each)
        elif not selecting:
            raise Stop("error: resource(s) were provided, but no name was specified")
        else:
            listed = session.server.ask("GET", each.path(), query=selection(session))["items"]
            metas = [one["metadata"] for one in listed]
            found += [Target(each.kind, meta.get("namespace", ""), meta["name"]) for meta in metas]
    return found


def selection(session: Session) -> dict[str, str]:
    """The query of `--selector` and `--field-selector`."""
    line = session.line
    return {"labelSelector": line.one("selector"), "fieldSelector": line.one("field-selector")}


def get(session: Session, target: Target) -> Json:
    """The object. Raises Refusal, Stop."""
    return cast("Json", session.server.ask("GET", target.path()))


def _target(session: Session, kind: Kind, name: str) -> Target:
    everywhere = not kind.namespaced or session.line.flag("all-namespaces")
    return Target(kind, "" if everywhere else session.namespace, name)
