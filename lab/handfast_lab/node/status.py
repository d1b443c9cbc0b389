"""A pod's status, written as kubelet writes it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, assert_never

from handfast_lab.node.lifecycle import Container, Kind, Running, Terminated, Waiting
from handfast_lab.node.seams import Json

ENDED: Final = frozenset({"Succeeded", "Failed"})
_OURS: Final = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What a status is made from."""

    containers: Sequence[Container]
    addresses: tuple[str, ...]
    host_address: str
    started_at: datetime
    sandbox: bool
    """It has its network and its volumes."""
    ending: bool
    """Nothing is started any more."""
    over: bool
    """Every process has ended, for good."""


def timestamp(moment: datetime) -> str:
    """metav1.Time: RFC 3339, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def render(pod: Json, facts: PodFacts, now: datetime) -> Json:
    """The status, with what others wrote into the one before."""
    reached = phase(facts)
    before = (pod.get("status") or {}).get("conditions") or []
    known = {each["type"]: each for each in before}
    written = [_condition(known.get(each["type"]), each, now) for each in _conditions(facts, reached)]
    specs = {each["name"]: each for each in [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]}
    statuses = [(each.kind, _container(specs[each.name], each, facts, reached)) for each in facts.containers]
    status: Json = {
        "phase": reached,
        "conditions": [*written, *(each for each in before if each["type"] not in _OURS)],
        "startTime": timestamp(facts.started_at),
        "hostIP": facts.host_address,
        "hostIPs": [{"ip": facts.host_address}],
        "containerStatuses": [each for kind, each in statuses if kind is Kind.MAIN],
        "initContainerStatuses": [each for kind, each in statuses if kind is not Kind.MAIN],
    }
    if facts.addresses:
        status |= {"podIP": facts.addresses[0], "podIPs": [{"ip": each} for each in facts.addresses]}
    return status


def phase(facts: PodFacts) -> str:
    """Where the pod is in its life; it ends only when nothing runs any more."""
    main = [each for each in facts.containers if each.kind is Kind.MAIN]
    inits = [each for each in facts.containers if each.kind is Kind.INIT]
    if facts.over:
        failed = any(isinstance(each.state, Terminated) and not each.succeeded for each in [*inits, *main])
        return "Failed" if failed or not all(each.succeeded for each in main) else "Succeeded"
    if all(isinstance(each.state, Waiting) for each in main):
        return "Pending"
    return "Running"


def _conditions(facts: PodFacts, reached: str) -> Iterable[Json]:
    yield {"type": "PodReadyToStartContainers", "status": _bool(facts.sandbox and not facts.over)}
    main = [each for each in facts.containers if each.kind is Kind.MAIN]
    before = [each for each in facts.containers if each.kind is not Kind.MAIN]
    begun = any(not isinstance(each.state, Waiting) for each in main)
    incomplete = [
        each.name for each in before if not (begun or (each.started if each.kind is Kind.SIDECAR else each.succeeded))
    ]
    yield _listed("Initialized", "ContainersNotInitialized", "incomplete", incomplete)
    unready = [each.name for each in facts.containers if each.kind is not Kind.INIT and not each.ready]
    for kind in ("Ready", "ContainersReady"):
        if reached in ENDED:
            yield {"type": kind, "status": "False", "reason": "PodCompleted" if reached == "Succeeded" else "PodFailed"}
        else:
            yield _listed(kind, "ContainersNotReady", "unready", unready)


def _listed(kind: str, reason: str, word: str, names: Sequence[str]) -> Json:
    if not names:
        return {"type": kind, "status": "True"}
    return {
        "type": kind,
        "status": "False",
        "reason": reason,
        "message": f"containers with {word} status: [{' '.join(names)}]",
    }


def _condition(before: Mapping[str, Any] | None, condition: Json, now: datetime) -> Json:
    same = before is not None and before["status"] == condition["status"]
    since = before.get("lastTransitionTime") if same and before is not None else None
    return {**condition, "lastProbeTime": None, "lastTransitionTime": since or timestamp(now)}


def _container(spec: Json, container: Container, facts: PodFacts, reached: str) -> Json:
    state: Waiting | Running | Terminated = container.state
    last = container.last
    if isinstance(state, Terminated) and not container.over and not facts.ending and container.kind is not Kind.INIT:
        last, state = state, Waiting(*_restarting(container))
    elif isinstance(state, Waiting) and not state.reason:
        waits_for_init = any(each.kind is not Kind.MAIN for each in facts.containers) and facts.sandbox
        state = Waiting("PodInitializing" if waits_for_init else "ContainerCreating")
    return {
        "name": container.name,
        "image": spec["image"],
        "imageID": spec["image"],
        "ready": container.succeeded if container.kind is Kind.INIT else container.ready and reached not in ENDED,
        "started": container.started,
        "restartCount": container.restarts,
        "state": _state(state),
        "lastState": _state(last) if last is not None else {},
    }


def _restarting(container: Container) -> tuple[str, str]:
    if container.not_before is None:
        return "ContainerCreating", ""
    return "CrashLoopBackOff", f"back-off restarting failed container {container.name} until {container.not_before}"


def _state(state: Waiting | Running | Terminated) -> Json:
    match state:
        case Waiting():
            return {"waiting": {"reason": state.reason} | ({"message": state.message} if state.message else {})}
        case Running():
            return {"running": {"startedAt": timestamp(state.started_at)}}
        case Terminated():
            return {
                "terminated": {
                    "exitCode": state.exit_code,
                    "reason": state.reason,
                    "startedAt": timestamp(state.started_at),
                    "finishedAt": timestamp(state.finished_at),
                }
                | ({"signal": state.signal} if state.signal else {})
                | ({"message": state.message} if state.message else {})
            }
        case _:
            assert_never(state)


def _bool(value: bool) -> str:
    return "True" if value else "False"
