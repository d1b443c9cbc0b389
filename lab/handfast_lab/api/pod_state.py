"""How a pod is, in the words of `kubectl get pods` (`printPod` of the real server). Pure."""

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(slots=True)
class PodState:
    """What its row says."""

    word: str
    total: int
    ready: int = 0
    restarts: int = 0


def pod_state(pod: Json) -> PodState:
    """The word is why it does not run, where there is a reason."""
    spec, status = pod["spec"], pod.get("status") or {}
    native = {each["name"] for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"}
    state = PodState(status.get("reason") or status.get("phase") or "Unknown", len(spec["containers"]) + len(native))
    if not _initializing(state, pod, native):
        _running(state, pod)
    if "deletionTimestamp" in pod["metadata"] and status.get("phase") not in ("Succeeded", "Failed"):
        state.word = "Terminating"
    return state


def _initializing(state: PodState, pod: Json, native: set[str]) -> bool:
    """Whether an init container has not done its work yet, or failed."""
    for index, each in enumerate(pod.get("status", {}).get("initContainerStatuses") or ()):
        state.restarts += each.get("restartCount", 0)
        ended, waits = _how(each)
        if ended and ended.get("exitCode") == 0:
            continue
        if each["name"] in native and each.get("started"):
            state.ready += bool(each.get("ready"))
            continue
        if ended:
            state.word = f"Init:{_ending(ended)}"
        elif waits and waits != "PodInitializing":
            state.word = f"Init:{waits}"
        else:
            state.word = f"Init:{index}/{len(pod['spec'].get('initContainers') or ())}"
        return True
    return False


def _running(state: PodState, pod: Json) -> None:
    running, failed = False, ""
    for each in reversed(pod.get("status", {}).get("containerStatuses") or ()):
        state.restarts += each.get("restartCount", 0)
        ended, waits = _how(each)
        if waits:
            state.word = waits
        elif ended:
            state.word = _ending(ended)
            failed = state.word if ended.get("exitCode") else failed
        elif each.get("ready") and "running" in (each.get("state") or {}):
            running, state.ready = True, state.ready + 1
    if state.word == "Completed" and (running or failed):
        conditions = pod.get("status", {}).get("conditions") or ()
        ready = any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)
        state.word = "Running" if running and ready else failed or "NotReady"


def _how(status: Json) -> tuple[Json | None, str]:
    """How a container ended, and why it waits."""
    state = status.get("state") or {}
    return state.get("terminated"), (state.get("waiting") or {}).get("reason") or ""


def _ending(ended: Json) -> str:
    return str(ended.get("reason") or f"ExitCode:{ended.get('exitCode')}")
