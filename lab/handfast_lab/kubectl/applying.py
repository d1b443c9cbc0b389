"""`apply`: client-side by three-way merge, as kubectl does by default, or server-side.

The one rule: what is wrong with one object does not stop the others.
"""

import json
from typing import Any, Final

from handfast_lab.kubectl.calls import MERGE_PATCH, absent
from handfast_lab.kubectl.manifests import Manifest, manifests
from handfast_lab.kubectl.merging import LAST_APPLIED, merged, patch
from handfast_lab.kubectl.refusals import Refusal, Stop, raise_if_any
from handfast_lab.kubectl.session import Session
from handfast_lab.kubectl.targets import get

Json = dict[str, Any]
STRICT: Final = {"fieldValidation": "Strict"}
_TRIES: Final = 5
_REVIEW: Final = """\
Please review the fields above--they currently have other managers. Here
are the ways you can resolve this warning:
* If you intend to manage all of these fields, please re-run the apply
  command with the `--force-conflicts` flag.
* If you do not intend to manage all of the fields, please edit your
  manifest to remove references to the fields that should keep their
  current managers.
* You may co-own fields by updating your manifest to match the existing
  value; in this case, you'll become the manager if the other manager(s)
  stop managing the field (remove it from their configuration).
See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts"""


def apply(session: Session) -> None:
    """Raises Stop, Refusal, Several."""
    problems: list[Stop | Refusal] = []
    for each in manifests(session, problems):
        try:
            if not each.target.name:
                raise Stop("error: resource name may not be empty")
            done = _by_server(session, each) if session.line.flag("server-side") else _by_client(session, each)
            session.done(each.kind, each.target.name, done)
        except (Refusal, Stop) as problem:
            problems.append(problem)
    raise_if_any(problems)


def _by_server(session: Session, manifest: Manifest) -> str:
    force = str(session.line.flag("force-conflicts")).lower()
    query = STRICT | session.dry() | {"fieldManager": "kubectl", "force": force}
    try:
        session.server.ask(
            "PATCH", manifest.target.path(), manifest.body, query=query, content="application/apply-patch+yaml"
        )
    except Refusal as problem:
        if problem.reason == "Conflict":
            raise Stop(f"error: {problem.status['message']}\n{_REVIEW}") from problem
        raise
    return "serverside-applied"


def _by_client(session: Session, manifest: Manifest) -> str:
    query = STRICT | session.dry() | {"fieldManager": "kubectl-client-side-apply"}
    noted = _noted(manifest.body)
    for attempt in range(1, _TRIES + 1):
        try:
            live = get(session, manifest.target)
        except Refusal as problem:
            if not absent(problem):
                raise
            return _create(session, manifest, noted, query)
        last = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
        if last is None:
            session.stderr.write(
                f"Warning: resource {manifest.kind.plural}/{manifest.target.name} is missing the {LAST_APPLIED}"
                " annotation which is required by kubectl apply. kubectl apply should only be used on resources created"
                " declaratively by either kubectl create --save-config or kubectl apply. The missing annotation will be"
                " patched automatically.\n"
            )
        wanted = merged(json.loads(last or "{}"), noted, live, keyed=manifest.kind.built_in)
        change = patch(live, wanted)
        if not change:
            return "unchanged"
        # Whole lists are sent, so nobody may have changed them meanwhile.
        change.setdefault("metadata", {})["resourceVersion"] = live["metadata"]["resourceVersion"]
        try:
            session.server.ask("PATCH", manifest.target.path(), change, query=query, content=MERGE_PATCH)
        except Refusal as problem:
            if problem.reason != "Conflict" or attempt == _TRIES:
                raise problem.while_doing(_patching(manifest, change)) from problem
        else:
            return "configured"
    raise AssertionError("the last try returns or raises")


def _create(session: Session, manifest: Manifest, noted: Json, query: Json) -> str:
    try:
        session.server.ask("POST", manifest.kind.path(manifest.namespace), _without_nulls(noted), query=query)
    except Refusal as problem:
        raise problem.while_doing(f'error when creating "{manifest.source}"') from problem
    return "created"


def _patching(manifest: Manifest, change: Json) -> str:
    kind, target = manifest.kind, manifest.target
    version = f"{kind.group}/{kind.version}" if kind.group else f"/{kind.version}"
    place = f'Name: "{target.name}", Namespace: "{target.namespace}"'
    return (
        f"error when applying patch:\n{json.dumps(change, sort_keys=True, separators=(',', ':'))}\nto:\n"
        f'Resource: "{version}, Resource={kind.plural}", GroupVersionKind: "{version}, Kind={kind.name}"\n{place}\n'
        f'for: "{manifest.source}": error when patching "{manifest.source}"'
    )


def _noted(body: Json) -> Json:
    """With what is applied in an annotation of its own, for the next time."""
    meta = body["metadata"]
    annotations = {name: value for name, value in (meta.get("annotations") or {}).items() if name != LAST_APPLIED}
    plain = body | {"metadata": meta | {"annotations": annotations}}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    return plain | {"metadata": meta | {"annotations": annotations | {LAST_APPLIED: text}}}


def _without_nulls(found: Json) -> Json:
    return {
        name: _without_nulls(value) if isinstance(value, dict) else value
        for name, value in found.items()
        if value is not None
    }
