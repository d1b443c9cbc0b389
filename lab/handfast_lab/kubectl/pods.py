"""Which pod and which container is meant, and `logs`."""

from typing import Any, Final

from handfast_lab.kubectl.refusals import Refusal, Stop
from handfast_lab.kubectl.session import Bytes, Session
from handfast_lab.kubectl.targets import Target, get, targets

Json = dict[str, Any]
_DEFAULT: Final = "kubectl.kubernetes.io/default-container"
_FIELDS: Final = {"containers": "", "ephemeralContainers": " (ephem)", "initContainers": " (init)"}


def logs(session: Session) -> None:
    """Raises Stop, Refusal."""
    line = session.line
    word, *more = line.words or ("",)
    if not word or len(more) > 1:
        raise Stop("error: expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.")
    try:
        target, pod = pod_of(session, word, tell=True)
    except Refusal as problem:
        said = f'{problem.status.get("message", "")} in namespace "{session.namespace}"'
        raise Stop(f"error: error from server ({problem.reason}): {said}") from problem
    query = {
        "container": more[0] if more else container_of(session, pod),
        "previous": "true" if line.flag("previous") else "",
        "follow": "true" if line.flag("follow") else "",
        "tailLines": "" if (tail := line.number("tail")) is None or tail < 0 else str(tail),
    }
    out = Bytes(session.stdout)
    for each in session.server.lines(target.path("log"), query, accept="*/*"):
        out.write(each)


def pod_of(session: Session, word: str, *, tell: bool) -> tuple[Target, Json]:
    """The pod of a name, or the best one of `deployment/name`. `tell`: say which, where there were several.

    Raises Refusal, Stop.
    """
    [named] = targets(session, (word,) if "/" in word else ("pods", word))
    if named.kind.name == "Pod":
        return named, get(session, named)
    owner, kind = get(session, named)["spec"], session.kinds.named("pods")
    labels = (owner.get("selector") or {}).get("matchLabels") or owner.get("selector") or {}
    if not labels or not all(isinstance(value, str) for value in labels.values()):
        raise Stop(f"error: {named} selects no pods by labels")
    query = {"labelSelector": ",".join(f"{name}={value}" for name, value in labels.items())}
    found = session.server.ask("GET", kind.path(named.namespace), query=query)["items"]
    if not found:
        raise Stop("error: timed out waiting for the condition")
    pod = min(found, key=_liveliness)
    name = pod["metadata"]["name"]
    if tell and len(found) > 1:
        session.stderr.write(f"Found {len(found)} pods, using pod/{name}\n")
    return Target(kind, named.namespace, name), pod


def container_of(session: Session, pod: Json) -> str:
    """The one asked for, else the pod's default, else its first. Raises Stop."""
    meta, spec = pod["metadata"], pod["spec"]
    names = {
        each["name"]: f"{each['name']}{suffix}" for field, suffix in _FIELDS.items() for each in spec.get(field) or ()
    }
    asked = session.line.one("container") or (meta.get("annotations") or {}).get(_DEFAULT, "")
    if asked and asked not in names:
        known = ", ".join(names.values())
        raise Stop(f"error: container {asked} is not valid for pod {meta['name']} out of: {known}")
    if asked:
        return str(asked)
    first = str(spec["containers"][0]["name"])
    if len(names) > 1:
        session.stderr.write(f'Defaulted container "{first}" out of: {", ".join(names.values())}\n')
    return first


def _liveliness(pod: Json) -> tuple[bool, bool, bool, str]:
    """Pods that stay before those that go, ready ones first, the oldest of them."""
    status = pod.get("status") or {}
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ())
    meta = pod["metadata"]
    return "deletionTimestamp" in meta, status.get("phase") != "Running", not ready, meta["creationTimestamp"]
