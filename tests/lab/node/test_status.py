"""The status that kubectl shows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from handfast_lab.node.lifecycle import Container, Kind, Restart, Running, Terminated, Waiting
from handfast_lab.node.status import PodFacts, phase, render

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("init", "sidecar", "app")
POD: dict[str, Any] = {
    "spec": {
        "initContainers": [{"name": "init", "image": "i"}, {"name": "sidecar", "image": "i"}],
        "containers": [{"name": "app", "image": "i"}],
    },
    "status": {"conditions": [{"type": "PodScheduled", "status": "True"}]},
}
DONE = Terminated(0, "Completed", NOW, NOW)
FAILED = Terminated(1, "Error", NOW, NOW, message="why")
INIT = Container("init", Kind.INIT, Restart.ON_FAILURE, DONE)
SIDECAR = Container("sidecar", Kind.SIDECAR, Restart.ALWAYS, Running(NOW), started=True, ready=True)
APP = Container("app", Kind.MAIN, Restart.ALWAYS, Running(NOW), started=True, ready=True)


def facts(*containers: Container, **changes: Any) -> PodFacts:
    given = PodFacts(containers, ("192.0.2.1", "2001:db8::1"), "192.0.2.9", NOW, sandbox=True, ending=False, over=False)
    return replace(given, **changes)


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each.get("message", "")) for each in status["conditions"]}


def state(container: Container, **changes: Any) -> Any:
    status = render(POD, facts(INIT, SIDECAR, container, **changes), NOW)
    return status["containerStatuses"][0]["state"]


def test_a_pod_is_ready_with_its_sidecar() -> None:
    status = render(POD, facts(INIT, SIDECAR, APP), NOW)
    assert (status["phase"], status["podIP"]) == ("Running", "192.0.2.1")
    assert {word for word, _ in conditions(status).values()} == {"True"}
    assert [each["ready"] for each in status["initContainerStatuses"]] == [True, True]
    unready = conditions(render(POD, facts(INIT, replace(SIDECAR, ready=False), APP), NOW))
    assert unready["Ready"] == ("False", "containers with unready status: [sidecar]")


def test_a_pod_is_pending_until_the_application_runs() -> None:
    app = replace(APP, state=Waiting(), ready=False)
    status = render(POD, facts(INIT, replace(SIDECAR, started=False, ready=False), app), NOW)
    assert status["phase"] == "Pending"
    assert conditions(status)["Initialized"] == ("False", "containers with incomplete status: [sidecar]")
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}


def test_conditions_keep_the_time_of_their_last_change() -> None:
    first = render(POD, facts(INIT, SIDECAR, APP), NOW)
    later = NOW + timedelta(hours=1)
    second = render({**POD, "status": first}, facts(INIT, SIDECAR, replace(APP, ready=False)), later)
    times = {each["type"]: each.get("lastTransitionTime") for each in second["conditions"]}
    assert (times["Initialized"], times["Ready"]) == ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z")


def test_a_container_that_waits_for_its_restart_shows_how_it_ended() -> None:
    app = replace(APP, state=FAILED, not_before=NOW, restarts=2)
    status = render(POD, facts(INIT, SIDECAR, app), NOW)["containerStatuses"][0]
    assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert status["lastState"]["terminated"]["message"] == "why"
    assert state(app, ending=True)["terminated"]["exitCode"] == 1


def test_a_pod_ends_when_nothing_runs_any_more() -> None:
    ended = replace(APP, state=DONE, restart=Restart.NEVER)
    assert phase(facts(INIT, SIDECAR, ended)) == "Running"
    assert phase(facts(INIT, replace(SIDECAR, state=FAILED), ended, over=True)) == "Succeeded"
    assert phase(facts(INIT, replace(ended, state=FAILED), over=True)) == "Failed"
    assert phase(facts(replace(INIT, state=FAILED), replace(ended, state=Waiting()), over=True)) == "Failed"


def test_a_pod_that_has_succeeded_is_not_ready() -> None:
    status = render(POD, facts(INIT, replace(APP, state=DONE, restart=Restart.NEVER), ending=True, over=True), NOW)
    ready = next(each for each in status["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "PodCompleted")
