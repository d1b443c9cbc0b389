"""`delete`: and wait until it is gone."""

import time
from typing import Any, Final

from handfast_lab.kubectl.calls import absent
from handfast_lab.kubectl.following import follow
from handfast_lab.kubectl.manifests import manifests
from handfast_lab.kubectl.refusals import Refusal, Stop, raise_if_any
from handfast_lab.kubectl.session import Session, seconds
from handfast_lab.kubectl.targets import Target, objects

Json = dict[str, Any]
_WEEK_S: Final = 7 * 24 * 3600.0
_FORCED: Final = (
    "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated."
    " The resource may continue to run on the cluster indefinitely.\n"
)


def delete(session: Session) -> None:
    """Raises Stop, Refusal, Several."""
    line = session.line
    problems: list[Stop | Refusal] = []
    grace_s = _grace_s(session)
    if line.all("filename"):
        chosen = [(each.target, f'error when deleting "{each.source}"') for each in manifests(session, problems)]
    else:
        chosen = [(each, "") for each in objects(session, line.words)]
    if grace_s == 0:
        session.stderr.write(_FORCED)
    ignoring = line.flag("ignore-not-found", default=line.flag("all") or bool(line.one("selector")))
    gone: list[tuple[Target, str]] = []
    for target, doing in chosen:
        try:
            gone.append((target, _delete(session, target, grace_s)))
        except Refusal as problem:
            if not (absent(problem) and ignoring):
                problems.append(problem.while_doing(doing) if doing else problem)
    if not gone and not problems and not (line.all("filename") or any(each.name for each, _ in chosen)):
        session.say("No resources found")
    if line.flag("wait", default=True):
        deadline = time.monotonic() + (seconds(line.one("timeout", "0")) or _WEEK_S)
        for target, uid in gone:
            until_gone(session, target, uid, deadline)
    raise_if_any(problems)


def until_gone(session: Session, target: Target, uid: str, deadline: float) -> None:
    """Return when it is not there, or is another one of the same name. Raises Stop when the time is up."""
    try:
        for found in follow(session, target, deadline):
            if found is None or (uid and found["metadata"]["uid"] != uid):
                return
    except TimeoutError:
        raise Stop(f"error: timed out waiting for the condition on {target.kind.plural}/{target.name}") from None


def _delete(session: Session, target: Target, grace_s: int | None) -> str:
    options: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    if grace_s is not None:
        options["gracePeriodSeconds"] = grace_s
    answer = session.server.ask("DELETE", target.path(), options)
    kind = target.kind.told("")[:-1]
    where = f" from {target.namespace} namespace" if target.kind.namespaced else ""
    session.say(f'{kind} "{target.name}" {"force " * (grace_s == 0)}deleted{where}')
    return str((answer.get("details") or {}).get("uid") or (answer.get("metadata") or {}).get("uid") or "")


def _grace_s(session: Session) -> int | None:
    """Seconds; 0 only by `--force`, as kubectl takes `--grace-period=0` alone for 1. Raises Stop."""
    line = session.line
    given, force = line.number("grace-period"), line.flag("force")
    if line.flag("now"):
        if given is not None:
            raise Stop("error: --now and --grace-period cannot be specified together")
        given = 1
    if force:
        if given:
            raise Stop("error: --force and --grace-period greater than 0 cannot be specified together")
        return 0
    return 1 if given == 0 else given
