"""`describe`: what an object is, and what was said about it. Modest: kubectl has words of its own for each kind."""

from datetime import UTC, datetime
from typing import Any

from handfast_lab.kubectl.printing import as_yaml, lines
from handfast_lab.kubectl.session import Session
from handfast_lab.kubectl.targets import Target, get, objects

Json = dict[str, Any]
_META = ("name", "namespace", "labels", "annotations", "creationTimestamp", "deletionTimestamp", "generation",
         "finalizers", "ownerReferences")  # fmt: skip


def describe(session: Session) -> None:
    """Raises Stop, Refusal."""
    for number, target in enumerate(objects(session, session.line.words, whole=True)):
        if number:
            session.say("\n")
        found = get(session, target)
        for each in described(found, _events(session, target, found), datetime.now(UTC)):
            session.say(each)


def described(found: Json, events: list[Json], now: datetime) -> list[str]:
    """The lines that tell of an object."""
    meta = {name: found["metadata"][name] for name in _META if found["metadata"].get(name)}
    said = []
    for name, value in (meta | {name: value for name, value in found.items() if name != "metadata"}).items():
        title = f"{name[0].upper()}{name[1:]}:"
        if isinstance(value, dict | list):
            said += [title, *(f"  {line}" for line in as_yaml(value).splitlines())]
        else:
            said.append(f"{title:<18} {value}")
    if not events:
        return [*said, f"{'Events:':<18} <none>"]
    rows = [["Type", "Reason", "Age", "From", "Message"], ["----", "------", "----", "----", "-------"]]
    rows += [_row(each, now) for each in events]
    return [*said, "Events:", *(f"  {line}" for line in lines(rows, []))]


def _events(session: Session, target: Target, found: Json) -> list[Json]:
    if not target.namespace:
        return []
    chosen = {"involvedObject.name": target.name, "involvedObject.uid": found["metadata"]["uid"]}
    path = session.kinds.named("events").path(target.namespace)
    query = {"fieldSelector": ",".join(f"{name}={value}" for name, value in chosen.items())}
    events: list[Json] = session.server.ask("GET", path, query=query)["items"]
    return sorted(events, key=_when)


def _row(event: Json, now: datetime) -> list[str]:
    source = event.get("reportingComponent") or (event.get("source") or {}).get("component") or ""
    at = _when(event)
    age = f"{max(0, int((now - datetime.fromisoformat(at)).total_seconds()))}s" if at else "<unknown>"
    return [event.get("type", ""), event.get("reason", ""), age, source, str(event.get("message", "")).strip()]


def _when(event: Json) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp") or "")
