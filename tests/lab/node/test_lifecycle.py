"""What is done with a pod's containers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from handfast_lab.node.lifecycle import (
    BACK_OFF,
    BACK_OFF_LIMIT,
    Container,
    Kind,
    Restart,
    Running,
    Step,
    Terminated,
    Waiting,
    back_off,
    decide,
    restart_of,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NEW = Waiting()
UP = Running(NOW)
DONE = Terminated(0, "Completed", NOW, NOW)
FAILED = Terminated(1, "Error", NOW, NOW)


def container(name: str, kind: Kind, state: Waiting | Running | Terminated = NEW, policy: str = "Always") -> Container:
    return Container(name, kind, restart_of(kind, policy), state, started=isinstance(state, Running))


def init(state: Waiting | Running | Terminated = NEW, policy: str = "Always") -> Container:
    return container("init", Kind.INIT, state, policy)


def sidecar(state: Waiting | Running | Terminated = NEW, name: str = "sidecar") -> Container:
    return container(name, Kind.SIDECAR, state)


def main(state: Waiting | Running | Terminated = NEW, policy: str = "Always") -> Container:
    return container("main", Kind.MAIN, state, policy)


def step(*containers: Container, ending: bool = False) -> Step:
    return decide(containers, NOW, ending=ending)


@pytest.mark.parametrize(
    ("containers", "started"),
    [
        ([init(), sidecar(), main()], ("init",)),
        ([init(UP), sidecar(), main()], ()),
        ([init(DONE), sidecar(), main()], ("sidecar",)),
        ([init(DONE), replace(sidecar(UP), started=False), main()], ()),
        ([init(DONE), sidecar(UP), main()], ("main",)),
        ([init(FAILED), sidecar(), main()], ("init",)),
        ([init(DONE), sidecar(FAILED), main(UP)], ("sidecar",)),
        ([init(DONE), replace(sidecar(UP), started=False), main(FAILED)], ("main",)),
        ([main(DONE)], ("main",)),
        ([main(FAILED, "OnFailure")], ("main",)),
    ],
)
def test_containers_start_in_order(containers: list[Container], started: tuple[str, ...]) -> None:
    assert step(*containers) == Step(start=started)


def test_a_failed_init_container_that_never_restarts_ends_the_pod() -> None:
    assert step(init(FAILED, "Never"), main(policy="Never")) == Step(ending=True, over=True)


def test_sidecars_end_after_the_application_and_in_reverse_order() -> None:
    pair = sidecar(UP, "first"), sidecar(UP, "second")
    assert step(*pair, main(UP), ending=True).stop == ("main",)
    assert step(*pair, main(DONE, "Never")).stop == ("second",)
    assert step(pair[0], sidecar(DONE, "second"), main(DONE, "Never")).stop == ("first",)
    assert step(sidecar(FAILED, "first"), main(DONE, "OnFailure")).over


def test_a_pod_that_is_deleted_early_starts_nothing_more() -> None:
    assert step(init(UP), sidecar(), main(), ending=True) == Step(stop=("init",), ending=True)
    assert step(init(DONE), sidecar(), main(), ending=True).over


def test_a_start_waits_for_its_time() -> None:
    later = NOW + timedelta(seconds=10)
    assert step(replace(main(FAILED), not_before=later)) == Step(wake_at=later)
    assert decide([replace(main(FAILED), not_before=later)], later, ending=False) == Step(start=("main",))


def test_the_back_off_doubles_to_its_limit_and_is_forgotten() -> None:
    first = back_off(1, None)
    second = back_off(1, first)
    assert (first, second, back_off(1, second)) == (timedelta(), BACK_OFF, 2 * BACK_OFF)
    assert back_off(1, BACK_OFF_LIMIT) == BACK_OFF_LIMIT
    assert back_off(601, BACK_OFF_LIMIT) == timedelta()


def test_each_kind_has_its_own_restart_policy() -> None:
    assert restart_of(Kind.SIDECAR, "Never") is Restart.ALWAYS
    assert restart_of(Kind.INIT, "Always") is Restart.ON_FAILURE
    assert restart_of(Kind.MAIN, "Never") is Restart.NEVER
