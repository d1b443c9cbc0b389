"""`rollout status` and `rollout restart` of Deployments; the lab has nothing else that rolls out.

What a status means is a pure function of the object.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from handfast_lab.kubectl.calls import MERGE_PATCH
from handfast_lab.kubectl.following import follow
from handfast_lab.kubectl.refusals import Stop
from handfast_lab.kubectl.session import Session, seconds
from handfast_lab.kubectl.targets import Target, get, objects

Json = dict[str, Any]
_WEEK_S: Final = 7 * 24 * 3600.0


def rollout(session: Session) -> None:
    """Raises Stop, Refusal."""
    verb, *words = session.line.words or ("",)
    if verb not in ("status", "restart"):
        raise Stop(f'error: "rollout {verb}" is not known to the little kubectl of the lab: install kubectl for it')
    chosen = objects(session, words, whole=True)
    if not chosen:
        session.stderr.write(f"No resources found in {session.namespace} namespace.\n")
    for each in chosen:
        if each.kind.name != "Deployment":
            raise Stop(f"error: rollouts of {each.kind.plural} are not known to the little kubectl of the lab")
        if verb == "restart":
            _restart(session, each)
        else:
            _finish(session, each)


def _restart(session: Session, target: Target) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    annotations = {"kubectl.kubernetes.io/restartedAt": now}
    change = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    session.server.ask("PATCH", target.path(), change, query={"fieldManager": "kubectl-rollout"}, content=MERGE_PATCH)
    session.done(target.kind, target.name, "restarted")


def _finish(session: Session, target: Target) -> None:
    deadline = time.monotonic() + (seconds(session.line.one("timeout", "0")) or _WEEK_S)
    get(session, target)
    try:
        for found in follow(session, target, deadline):
            if found is None:
                raise Stop("error: object has been deleted")
            told, done = progress(found)
            session.say(told)
            if done:
                return
    except TimeoutError:
        raise Stop("error: timed out waiting for the condition") from None


def progress(found: Json) -> tuple[str, bool]:
    """What is told, and whether it is rolled out. Raises Stop when its deadline is over."""
    name, status, waiting = found["metadata"]["name"], _counts(found), "Waiting for deployment"
    if found["metadata"].get("generation", 0) > status("observedGeneration"):
        return f"{waiting} spec update to be observed...", False
    for each in found["status"].get("conditions") or ():
        if each["type"] == "Progressing" and each.get("reason") == "ProgressDeadlineExceeded":
            raise Stop(f'error: deployment "{name}" exceeded its progress deadline')
    wanted, new, there = found["spec"].get("replicas", 1), status("updatedReplicas"), status("replicas")
    waiting = f'{waiting} "{name}" rollout to finish:'
    if new < wanted:
        return f"{waiting} {new} out of {wanted} new replicas have been updated...", False
    if there > new:
        return f"{waiting} {there - new} old replicas are pending termination...", False
    if status("availableReplicas") < new:
        return f"{waiting} {status('availableReplicas')} of {new} updated replicas are available...", False
    return f'deployment "{name}" successfully rolled out', True


def _counts(found: Json) -> Callable[[str], int]:
    return lambda name: int((found.get("status") or {}).get(name) or 0)
