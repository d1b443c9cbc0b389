"""The life of pods, with real processes."""

import asyncio
import ctypes
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from handfast_lab.api.port import Json
from handfast_lab.commands import put_down
from lab.node.stage import Link, Stage, condition, shell, stage


def statuses(pod: Json) -> list[Json]:
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]


FOR_EVER = "trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done"


async def test_a_pod_runs_once_and_succeeds(node: Stage) -> None:
    assert await node.result("hello", shell("echo hello from $(hostname)")) == "hello from hello\n"


async def test_the_node_is_registered(node: Stage) -> None:
    found = await node.until("lab", lambda node: condition(node, "Ready") == "True", "nodes")
    assert found["spec"]["podCIDRs"] == ["10.244.0.0/24"]
    assert {"type": "InternalIP", "address": "127.0.0.1"} in found["status"]["addresses"]


async def test_a_running_pod_says_where_it_is(node: Stage) -> None:
    await node.create("up", shell(FOR_EVER))
    pod = await node.ready("up")
    assert pod["spec"]["nodeName"] == "lab"
    assert pod["status"]["podIPs"] == [{"ip": "127.0.0.1"}, {"ip": "::1"}]
    assert {kind: condition(pod, kind) for kind in ("PodScheduled", "Initialized", "ContainersReady")} == {
        "PodScheduled": "True",
        "Initialized": "True",
        "ContainersReady": "True",
    }
    assert "running" in pod["status"]["containerStatuses"][0]["state"]


async def test_init_containers_run_in_order_and_sidecars_end_last(node: Stage) -> None:
    data = [{"name": "data", "mountPath": "/data"}]
    write = "echo {} >> /data/order"
    init = shell(write.format("init"), "init", volumeMounts=data)
    sidecar = shell(
        f"{write.format('sidecar')}; trap '{write.format('sidecar-ends')}; exit 0' TERM; while :; do sleep 0.05; done",
        "sidecar",
        volumeMounts=data,
        restartPolicy="Always",
        lifecycle={"preStop": {"exec": {"command": ["cat", "/data/order"]}}},
    )
    late = shell(write.format("late"), "late", volumeMounts=data)
    main = shell(f"{write.format('main')}; sleep 0.2; {write.format('main-ends')}; cat /data/order", volumeMounts=data)
    volumes = [{"name": "data", "emptyDir": {}}]
    written = await node.result("order", main, initContainers=[init, sidecar, late], volumes=volumes)
    assert written.split() == ["init", "sidecar", "late", "main", "main-ends"]
    pod = node.api.get("pods", "shop", "order")
    ends = [each["state"]["terminated"]["exitCode"] for each in pod["status"]["initContainerStatuses"]]
    assert ends == [0, 0, 0]


async def test_what_follows_a_sidecar_waits_for_its_startup_probe(node: Stage) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/up"]}, "periodSeconds": 1, "failureThreshold": 50}
    sidecar = shell(f"sleep 0.3; touch /tmp/up; {FOR_EVER}", "sidecar", restartPolicy="Always", startupProbe=probe)
    await node.create("gated", shell(FOR_EVER), initContainers=[sidecar])
    waiting = await node.until("gated", lambda pod: bool(pod.get("status", {}).get("initContainerStatuses")))
    assert waiting["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
    pod = await node.ready("gated")
    assert pod["status"]["initContainerStatuses"][0]["started"]


async def test_a_sidecar_that_ends_is_started_again(node: Stage) -> None:
    sidecar = shell("test $RANDOM; exit 1", "sidecar", restartPolicy="Always")
    await node.create("again", shell(FOR_EVER), initContainers=[sidecar])
    pod = await node.until("again", lambda pod: any(each["restartCount"] for each in statuses(pod)))
    assert pod["status"]["initContainerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 1
    event = await node.event("BackOff")
    assert event["message"].startswith("Back-off restarting failed container sidecar in pod again_shop(")


async def test_a_pod_waits_for_its_secret(node: Stage) -> None:
    volumes = [{"name": "keys", "secret": {"secretName": "keys"}}]
    container = shell("cat /keys/tls.crt", volumeMounts=[{"name": "keys", "mountPath": "/keys"}])
    await node.create("waits", container, volumes=volumes, restartPolicy="Never")
    event = await node.event("FailedMount")
    assert event["message"] == 'MountVolume.SetUp failed for volume "keys" : secret "keys" not found'
    pod = node.api.get("pods", "shop", "waits")
    assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ContainerCreating"
    await node.secret("keys", **{"tls.crt": "a certificate"})
    assert await node.output(await node.phase("waits", "Succeeded")) == "a certificate\n"


async def test_a_secret_that_changes_changes_in_the_container(node: Stage) -> None:
    await node.secret("keys", word="old")
    volumes = [{"name": "keys", "secret": {"secretName": "keys"}}]
    script = "while [ $(cat /keys/word) = old ]; do sleep 0.02; done; cat /keys/word"
    container = shell(script, volumeMounts=[{"name": "keys", "mountPath": "/keys"}])
    await node.create("swap", container, volumes=volumes, restartPolicy="Never")
    await node.ready("swap")
    await node.secret("keys", word="new")
    assert await node.output(await node.phase("swap", "Succeeded")) == "new\n"


async def test_a_failed_init_container_fails_the_pod_that_never_restarts(node: Stage) -> None:
    last = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    init = shell("echo no rules; exit 3", "init", **last)
    await node.create("fails", shell("true"), initContainers=[init], restartPolicy="Never")
    pod = await node.phase("fails", "Failed")
    ended = pod["status"]["initContainerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (3, "Error", "no rules\n")


async def test_a_deleted_pod_hears_sigterm_and_goes(node: Stage) -> None:
    await node.create("leaves", shell(FOR_EVER), terminationGracePeriodSeconds=30)
    pod = await node.ready("leaves")
    following = node.agent.log(pod, "app", follow=True, previous=False, tail=None, timestamps=False)
    await node.api.delete("pods", "shop", "leaves")
    assert [line async for line in following] == [b"bye\n"]
    await node.event("Killing")
    await node.network.released.wait()


async def test_a_process_that_does_not_listen_is_killed_after_the_grace_period(node: Stage) -> None:
    await node.create("deaf", shell("trap '' TERM; while :; do sleep 0.1; done"), terminationGracePeriodSeconds=1)
    await node.ready("deaf")
    gone = asyncio.create_task(node.gone("deaf"))
    await node.api.delete("pods", "shop", "deaf")
    ended = await node.until("deaf", lambda pod: "terminated" in statuses(pod)[0]["state"])
    assert ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
    await gone


async def test_a_pod_that_waits_can_be_deleted(node: Stage) -> None:
    await node.create("never", shell("true"), volumes=[{"name": "keys", "secret": {"secretName": "keys"}}])
    await node.event("FailedMount")
    gone = asyncio.create_task(node.gone("never"))
    await node.api.delete("pods", "shop", "never")
    await gone


async def test_a_pod_deleted_at_once_leaves_no_process(node: Stage) -> None:
    await node.create("shot", shell("trap '' TERM; while :; do sleep 0.1; done"))
    await node.ready("shot")
    await node.api.delete("pods", "shop", "shot", grace_s=0)
    await node.network.released.wait()


async def test_readiness_follows_the_probe(node: Stage) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = f"import http.server as h; h.HTTPServer(('127.0.0.1', {port}), h.SimpleHTTPRequestHandler).serve_forever()"
    container = {
        "name": "app",
        "image": "python",
        "args": [server],
        "ports": [{"name": "web", "containerPort": port}],
        "readinessProbe": {"httpGet": {"path": "/etc/hostname", "port": "web"}, "periodSeconds": 1},
    }
    await node.create("served", container)
    await node.ready("served")


async def test_a_container_that_fails_its_liveness_probe_is_restarted(node: Stage) -> None:
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    await node.create("ill", shell("trap 'exit 0' TERM; while :; do sleep 0.05; done", livenessProbe=probe))
    pod = await node.until("ill", lambda pod: any(each["restartCount"] for each in statuses(pod)))
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 0
    event = await node.event("Unhealthy")
    assert event["message"].startswith("Liveness probe failed")


async def test_the_log_of_the_run_before_is_kept(node: Stage) -> None:
    await node.create("twice", shell("echo run; exit 1"))
    pod = await node.until("twice", lambda pod: any(e["restartCount"] for e in statuses(pod)))
    assert await node.output(pod, previous=True) == "run\n"


async def test_a_pod_in_the_nodes_network_has_its_address(node: Stage) -> None:
    await node.create("host", shell(FOR_EVER), hostNetwork=True)
    assert (await node.ready("host"))["status"]["podIPs"] == [{"ip": "127.0.0.1"}]


async def test_the_hook_before_the_end_comes_before_sigterm(node: Stage) -> None:
    hook = {"exec": {"command": ["sh", "-c", "echo hook > /proc/1/fd/1"]}}
    await node.create("hooked", shell(FOR_EVER, lifecycle={"preStop": hook}))
    pod = await node.ready("hooked")
    following = node.agent.log(pod, "app", follow=True, previous=False, tail=None, timestamps=False)
    await node.api.delete("pods", "shop", "hooked")
    assert [line async for line in following] == [b"hook\n", b"bye\n"]


async def test_a_pod_on_failure_runs_until_it_succeeds(node: Stage) -> None:
    data = [{"name": "data", "mountPath": "/data"}]
    container = shell("test -e /data/ran || { touch /data/ran; exit 1; }", volumeMounts=data)
    await node.create("retried", container, restartPolicy="OnFailure", volumes=[{"name": "data", "emptyDir": {}}])
    assert statuses(await node.phase("retried", "Succeeded"))[0]["restartCount"] == 1


async def test_a_container_that_lacks_a_secret_says_so(node: Stage) -> None:
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k"}}}]
    await node.create("lacks", shell("true", env=env))
    pod = await node.until("lacks", lambda pod: any("waiting" in each["state"] for each in statuses(pod)))
    await node.event("Failed")
    pod = await node.until(
        "lacks", lambda pod: statuses(pod)[0]["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    )
    assert statuses(pod)[0]["state"]["waiting"]["message"] == 'secret "none" not found'


async def test_nothing_runs_when_the_agent_has_ended(tmp_path: Path) -> None:
    async with stage(tmp_path) as node:
        await node.create("left", shell("exec python3 -c 'import signal, os; os.fork(); signal.pause()'"))
        pod = await node.ready("left")
        process = await node.agent.spawn(pod, "app", ["cat"], False)
    assert await process.wait() != 0


@pytest.fixture
def first_process() -> Iterator[None]:
    """As in the lab, orphans are ours (PR_SET_CHILD_SUBREAPER): no init waits for them."""
    libc, subreaper = ctypes.CDLL(None), 36
    libc.prctl(subreaper, ctypes.c_ulong(1), 0, 0, 0)
    yield
    libc.prctl(subreaper, ctypes.c_ulong(0), 0, 0, 0)


@pytest.mark.usefixtures("first_process")
async def test_a_command_that_is_put_down_does_not_keep_its_pod_from_ending(node: Stage) -> None:
    await node.create("asked", shell("exec sleep 1000"))
    pod = await node.ready("asked")
    process = await node.agent.spawn(pod, "app", ["sh", "-c", "sleep 1000 & echo up; wait"], False)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    await put_down(process)
    await node.api.delete("pods", "shop", "asked", grace_s=1)
    await node.gone("asked")


def running(words: bytes) -> list[Path]:
    """Processes with these words in their command line."""
    return [each for each in Path("/proc").glob("[0-9]*/cmdline") if words in each.read_bytes()]


async def test_a_probe_under_way_ends_with_the_agent(tmp_path: Path) -> None:
    endless = {"exec": {"command": ["sh", "-c", "echo probing > /proc/1/fd/1; sleep 54321"]}, "timeoutSeconds": 60}
    async with stage(tmp_path) as node:
        pod = await node.create("probed", shell("exec sleep 1000", readinessProbe=endless))
        await node.until("probed", lambda each: bool(each["status"].get("containerStatuses")))
        await node.event("Started")
        lines = node.agent.log(pod, "app", follow=True, previous=False, tail=None, timestamps=False)
        assert await anext(lines) == b"probing\n"
    assert not running(b"sleep\x0054321")


async def test_a_pod_whose_network_fails_is_no_other_pods_failure(
    node: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[str] = []

    async def attach(pod_uid: str) -> Link:
        if pod_uid == (refused or [pod_uid])[0]:
            refused.append(pod_uid)
            raise OSError("no network")
        return Link()

    monkeypatch.setattr(node.network, "attach", attach)
    await node.create("bad", shell("true"))
    await node.event("FailedCreatePodSandBox")
    assert await node.result("good", shell("echo good")) == "good\n"
    assert "a pod fails, and is tried again" in caplog.messages
    event = await node.event("FailedCreatePodSandBox")
    assert event["message"] == "Failed to create pod sandbox: no network"
