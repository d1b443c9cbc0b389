"""What deleting makes of an object: gone at once, or marked until its finalizers or its node let it go. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from handfast_lab.api.problems import ApiProblem, conflict
from handfast_lab.api.resources import Resource

Json = dict[str, Any]
FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class Options:
    """What a DeleteOptions object says."""

    grace_s: int | None = None
    uid: str = ""
    resource_version: str = ""
    propagation: str = "Background"

    @classmethod
    def parse(cls, body: Json, query: Mapping[str, str]) -> "Options":
        """From the body, or the query where that says nothing."""
        grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
        conditions = body.get("preconditions") or {}
        propagation = body.get("propagationPolicy") or query.get("propagationPolicy") or "Background"
        seconds = None if grace is None else max(int(grace), -1)
        return cls(
            1 if seconds == -1 else seconds,
            conditions.get("uid") or "",
            conditions.get("resourceVersion") or "",
            propagation,
        )


def timestamp(moment: datetime) -> str:
    """As the API writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def marked(resource: Resource, found: Json, options: Options, now: datetime) -> Json | None:
    """What stays of an object that is deleted; None: nothing. Raises ApiProblem where a precondition fails."""
    _check(resource, found, options)
    meta = dict(found["metadata"])
    finalizers = list(meta.get("finalizers") or ())
    for policy, name in (("Foreground", FOREGROUND), ("Orphan", ORPHAN)):
        if options.propagation == policy and name not in finalizers and "deletionTimestamp" not in meta:
            finalizers.append(name)
    if finalizers:
        meta["finalizers"] = finalizers
    if resource.kind == "Pod":
        grace = _grace(found, options)
        if grace == 0 and not finalizers:
            return None
        known = meta.get("deletionGracePeriodSeconds")
        if known is not None and (options.grace_s is None or grace >= known):
            return found
        began = now if known is None else _moment(meta["deletionTimestamp"]) - timedelta(seconds=known)
        ends = max(began + timedelta(seconds=grace), now)
        meta |= {"deletionTimestamp": timestamp(ends), "deletionGracePeriodSeconds": grace}
    elif resource.kind == "Namespace":
        meta.setdefault("deletionTimestamp", timestamp(now))
        return found | {"metadata": meta, "status": {**(found.get("status") or {}), "phase": "Terminating"}}
    elif not finalizers:
        return None
    else:
        meta.setdefault("deletionTimestamp", timestamp(now))
        meta.setdefault("deletionGracePeriodSeconds", 0)
    if "generation" in meta and "deletionTimestamp" not in found["metadata"]:
        meta["generation"] += 1
    return found | {"metadata": meta}


def is_due(resource: Resource, found: Json) -> bool:
    """Whether an object that was marked has nothing left to wait for."""
    meta = found["metadata"]
    if "deletionTimestamp" not in meta or meta.get("finalizers") or resource.kind == "Namespace":
        return False
    return not meta.get("deletionGracePeriodSeconds")


def _grace(pod: Json, options: Options) -> int:
    """Nobody has to end a pod that is on no node, or that has ended."""
    ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    if ended or not pod["spec"].get("nodeName"):
        return 0
    return int(pod["spec"].get("terminationGracePeriodSeconds", 30)) if options.grace_s is None else options.grace_s


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _check(resource: Resource, found: Json, options: Options) -> None:
    meta = found["metadata"]
    for name, wanted, known, end in (
        ("UID", options.uid, meta["uid"], "been deleted and then recreated"),
        ("ResourceVersion", options.resource_version, meta["resourceVersion"], "been modified"),
    ):
        if wanted and wanted != known:
            raise _refused(resource, meta["name"], name, wanted, known, end)


def _refused(resource: Resource, name: str, what: str, wanted: str, known: str, end: str) -> ApiProblem:
    why = f"the {what} in the precondition ({wanted}) does not match the {what} in record ({known})"
    return conflict(resource.group_kind, name, f"{why}. The object might have {end}")
