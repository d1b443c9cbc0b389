"""The controller is killed at each step of a rotation, again and again: it ends as if it had not been."""

import asyncio
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from cluster.conftest import NamespaceFactory
from cluster.driving import Driving
from cluster.kube.workloads import Workloads
from cluster.lab import Lab
from cluster.mesh import until
from cluster.release import Release
from cluster.rotations import answered, kept, roots, signing, steer, until_replaced
from cluster.stragglers import paused, processes
from handfast_operator.cluster.access import read_kubeconfig
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import SECRETS
from handfast_sidecar.wellknown import LABEL_AUTHORITY

pytestmark = pytest.mark.timeout(400)
CONTROLLER = "handfast-controller"


@pytest.fixture(scope="module")
def load(cluster: Lab, handfast: Release, workloads: Workloads, module_namespace: NamespaceFactory) -> Driving:
    """One for all of these tests."""
    return Driving.begin_strict(cluster, workloads, module_namespace)


def test_killed_after_each_write_of_a_rotation_it_ends_in_the_same_state(
    lab: Lab, handfast: Release, load: Driving
) -> None:
    old, word = signing(lab), uuid.uuid4().hex[:6]
    with killing(lab, handfast) as watching:
        steer(lab, trigger=word)
        until(f"{old} is gone", lambda: old not in kept(lab, handfast.namespace), 300)
    new = until_replaced(lab, old)
    assert watching.states[:3] == ["Prepared", "Distributed", "Active"], watching.states
    assert watching.killed >= 4, watching.states
    assert watching.most_signing <= 2, "two for as long as lies between two writes, of which the younger one signs"
    assert kept(lab, handfast.namespace) == {new: "Active"}
    assert answered(lab, handfast.namespace, new) == word
    load.goes_on()


def test_paused_forced_and_taken_back_it_ends_with_the_root_that_it_began_with(
    lab: Lab, handfast: Release, load: Driving, workloads: Workloads
) -> None:
    here, word = load.namespace, uuid.uuid4().hex[:6]
    still = f"still-{word}"
    lab.apply_ready(workloads.pod(still, here))
    old = signing(lab)
    with paused(still):
        steer(lab, trigger=word)
        until("it waits", lambda: roots(lab).named == {f"{here}/{still}"}, 60)
        [new] = set(kept(lab, handfast.namespace)) - {old}
        steer(lab, paused=True)
        until("it says that it is paused", lambda: roots(lab).rotation["state"] == "Paused")
        restart(lab, handfast)
        assert kept(lab, handfast.namespace) == {old: "Active", new: "Distributed"}
        steer(lab, paused=None, force=new)
        until("the new one signs", lambda: kept(lab, handfast.namespace).get(new) == "Active", 60)
        steer(lab, force=None, back=old)
        until("the old one signs again", lambda: kept(lab, handfast.namespace).get(old) == "Active", 60)
        restart(lab, handfast)
    until("the new one is gone", lambda: kept(lab, handfast.namespace) == {old: "Active"}, 120)
    steer(lab, back=None)
    assert signing(lab) == old
    load.goes_on()
    lab.delete("pod", still, here)


def test_of_two_rotations_that_are_asked_for_at_once_the_last_word_is_answered(
    lab: Lab, handfast: Release, load: Driving
) -> None:
    old, word = signing(lab), uuid.uuid4().hex[:6]
    steer(lab, trigger=f"{word}-first")
    steer(lab, trigger=f"{word}-second")
    until(
        "it is answered", lambda: answered(lab, handfast.namespace, until_replaced(lab, old)) == f"{word}-second", 120
    )
    assert list(kept(lab, handfast.namespace).values()) == ["Active"]
    load.goes_on()
    load.finish()


class Watching:
    """What was written to authorities' Secrets, and how often the controller died of it."""

    def __init__(self) -> None:
        self.states: list[str] = []
        """Of the newest authority, as they were entered."""
        self.killed = 0
        self.most_signing = 0
        self._now: dict[str, str] = {}

    def saw(self, name: str, state: str | None) -> bool:
        """Whether it is news."""
        if self._now.get(name) == state:
            return False
        if state is None:
            del self._now[name]
        else:
            self._now[name] = state
            if name == max(self._now, key=_number):
                self.states.append(state)
        self.most_signing = max(self.most_signing, list(self._now.values()).count("Active"))
        return True


def _number(authority: str) -> int:
    """Each has the next one: the tenth comes after the ninth."""
    return int(authority.rpartition("-")[2])


@contextmanager
def killing(lab: Lab, handfast: Release) -> Iterator[Watching]:
    """Kill the controller with each change of an authority's state while the block runs."""
    watching, stop = Watching(), threading.Event()
    for name, state in kept(lab, handfast.namespace).items():
        watching.saw(name, state)
    watching.states.clear()

    async def watch() -> None:
        async with ApiClient.connect(read_kubeconfig(lab.kubeconfig)) as client:
            path = SECRETS.within(handfast.namespace)
            async for event in client.watch(path, {"labelSelector": LABEL_AUTHORITY}):
                meta = event["object"]["metadata"]
                state = None if event["type"] == "DELETED" else meta["annotations"]["handfast.dev/state"]
                if watching.saw(meta["name"], state):
                    watching.killed += await asyncio.to_thread(kill, lab, handfast)

    def follow() -> None:
        async def until_stopped() -> None:
            task = asyncio.create_task(watch())
            await asyncio.to_thread(stop.wait)
            task.cancel()
            await asyncio.wait([task])

        asyncio.run(until_stopped())

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield watching
    finally:
        stop.set()
        thread.join()


def kill(lab: Lab, handfast: Release) -> bool:
    """SIGKILL, and another pod in its place, which is not kept waiting for having died before; whether it ran."""
    ran = False
    for pod in handfast.pods(CONTROLLER):
        for process in processes(pod, "controller"):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
                ran = True
        words = ("delete", "pod", pod, "-n", handfast.namespace, "--grace-period=0", "--force", "--ignore-not-found")
        lab(*words)
    return ran


def restart(lab: Lab, handfast: Release) -> None:
    """Kill it; return when its successor says that it works."""
    before = set(handfast.pods(CONTROLLER))
    kill(lab, handfast)
    until("there is another one", lambda: handfast.pods(CONTROLLER) and before.isdisjoint(handfast.pods(CONTROLLER)))
    [pod] = handfast.pods(CONTROLLER)
    lab.wait("pod", pod, "condition=Ready", handfast.namespace)
