"""What a process sees and may do in a container."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from handfast_lab.node.seams import ImageSpec
from handfast_operator.admission.containers import InjectionOptions, init_container
from lab.node.stage import IMAGES, Link, Stage, shell, stage


@pytest.fixture
def netns() -> Iterator[Path]:
    """A network namespace of somebody else's."""
    with subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        yield Path(f"/proc/{holder.pid}/ns/net")
        holder.kill()


async def test_the_root_is_its_own_and_the_machine_below_cannot_be_written(node: Stage) -> None:
    script = "echo x > /made && cat /made; echo x > /tmp/made && echo tmp; touch /usr/made 2>&1 || true"
    written = await node.result("root", shell(script))
    assert written.startswith("x\ntmp\n")
    assert "Read-only file system" in written
    assert "made" not in os.listdir("/")  # noqa: PTH208 - names are all that is asked


async def test_its_first_process_has_the_number_one_and_sees_none_but_its_own(node: Stage) -> None:
    assert await node.result("pid", shell("echo /proc/[0-9]*; exec readlink /proc/self")) == "/proc/1\n1\n"


async def test_hosts_and_resolv_conf_and_hostname_are_the_pods(node: Stage) -> None:
    script = "cat /etc/hosts /etc/resolv.conf /etc/hostname; hostname"
    written = await node.result("names", shell(script), subdomain="web")
    assert "127.0.0.1\tnames.web.shop.svc.cluster.local\tnames\n" in written
    assert "search shop.svc.cluster.local\n" in written
    assert written.endswith("names\nnames\n")


async def test_a_user_has_no_capabilities_and_gets_to_python(node: Stage) -> None:
    script = "print(__import__('os').getuid(), [l for l in open('/proc/self/status') if l.startswith('CapEff')])"
    assert "65532 ['CapEff:\\t0000000000000000\\n']" in await node.result(
        "user", {"name": "app", "image": "python", "args": [script]}
    )


async def test_root_has_only_the_capabilities_that_are_listed(node: Stage) -> None:
    context = {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}, "allowPrivilegeEscalation": False}
    written = await node.result("caps", shell("grep -E 'CapEff|NoNewPrivs' /proc/self/status", securityContext=context))
    assert written.split() == ["CapEff:", "0000000000001000", "NoNewPrivs:", "1"]


async def test_the_users_of_pod_and_container_win_over_the_images(node: Stage) -> None:
    context = {"runAsUser": 1234, "runAsGroup": 1235, "fsGroup": 77}
    container = shell("id -u; id -g; id -G; touch /data/it; stat -c %g /data/it", volumeMounts=[mount("/data")])
    written = await node.result("who", container, securityContext=context, volumes=[EMPTY])
    assert written == "1234\n1235\n1235 77\n77\n"


async def test_volumes_appear_where_the_machine_has_nothing_and_where_it_has(node: Stage) -> None:
    mounts = [mount("/var/run/handfast/cache"), mount("/usr/share/handfast-nowhere"), mount("/srv")]
    script = "touch /srv/it; ls /var/run/handfast/cache /usr/share/handfast-nowhere; ls /usr/share | wc -l"
    *names, count = (await node.result("volumes", shell(script, volumeMounts=mounts), volumes=[EMPTY])).split()
    assert names.count("it") == 2
    assert int(count) > 2
    assert "handfast-nowhere" not in os.listdir("/usr/share")  # noqa: PTH208


async def test_containers_share_a_volume_and_one_of_them_may_not_write(node: Stage) -> None:
    first = shell("echo hi > /data/it", "first", volumeMounts=[mount("/data")])
    second = shell("cat /data/it; touch /data/it 2>&1 || true", volumeMounts=[{**mount("/data"), "readOnly": True}])
    written = await node.result("share", second, initContainers=[first], volumes=[EMPTY])
    assert written.startswith("hi\n")
    assert "Read-only" in written


async def test_one_file_of_a_secret_is_mounted_alone(node: Stage) -> None:
    await node.secret("keys", one="1", two="2")
    mounts = [{"name": "keys", "mountPath": "/etc/app/one", "subPath": "one"}]
    volumes = [{"name": "keys", "secret": {"secretName": "keys"}}]
    assert await node.result("sub", shell("cat /etc/app/one; ls /etc/app", volumeMounts=mounts), volumes=volumes) == (
        "1one\n"
    )


async def test_a_container_runs_in_the_network_it_is_given(tmp_path: Path, netns: Path) -> None:
    async with stage(tmp_path, Link(("192.0.2.1",), netns)) as node:
        written = await node.result("net", shell("readlink /proc/self/ns/net"))
    assert written.strip() == os.readlink(netns)  # noqa: PTH115 - the text of a link that leads nowhere


async def test_our_init_container_writes_the_rules_of_its_pod(tmp_path: Path, netns: Path) -> None:
    program = "from sys import exit; from handfast_sidecar.main import main; exit(main())"
    IMAGES["sidecar"] = ImageSpec((sys.executable, "-c", program), user=7443, group=7443)
    init = {**init_container(InjectionOptions("handfast-system", "sidecar"), {}), "volumeMounts": []}
    async with stage(tmp_path, Link(("192.0.2.1",), netns)) as node:
        await node.result("meshed", shell("true"), initContainers=[init])
    command = ("nsenter", f"--net={netns}", "nft", "list", "ruleset")
    listing = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert b"table inet handfast" in (await listing.communicate())[0]


async def test_every_container_finds_the_token_of_its_service_account(node: Stage) -> None:
    script = "cd /var/run/secrets/kubernetes.io/serviceaccount; cat token namespace ca.crt"
    assert await node.result("account", shell(script)) == "for shopa root\n"


async def test_a_process_that_joins_has_the_containers_files_and_user(node: Stage) -> None:
    script = "echo mine > /tmp/mine; sleep 60"
    await node.create("joined", shell(script, securityContext={"runAsUser": 1234}, env=[{"name": "A", "value": "b"}]))
    pod = await node.ready("joined")
    process = await node.agent.spawn(pod, "app", ["sh", "-c", "cat; id -u; echo $A; cat /tmp/mine; exit 3"], False)
    assert await process.communicate(b"in\n") == (b"in\n1234\nb\nmine\n", b"")
    assert await process.wait() == 3


async def test_a_process_that_joins_may_have_a_terminal(node: Stage) -> None:
    await node.create("terminal", shell("sleep 60"))
    process = await node.agent.spawn(await node.ready("terminal"), "app", ["tty"], True)
    assert (await process.communicate())[0].startswith(b"/dev/pts/")


async def test_an_image_that_nobody_knows_is_named(node: Stage) -> None:
    await node.create("unknown", {"name": "app", "image": "example/none:1"})
    event = await node.event("Failed")
    assert 'no image "example/none:1"' in event["message"]


async def test_a_program_that_is_not_there_is_named(node: Stage) -> None:
    await node.create("absent", {"name": "app", "image": "shell", "command": ["/none"]}, restartPolicy="Never")
    ended = (await node.phase("absent", "Failed"))["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert "No such file or directory: /none" in ended["message"]


async def test_a_checkout_below_tmp_is_reached(node: Stage, tmp_path: Path) -> None:
    tmp_path.parent.chmod(0o700)
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho here\n")
    program.chmod(0o755)
    IMAGES["checkout"] = ImageSpec((str(program),), user=65532)
    assert await node.result("checkout", {"name": "app", "image": "checkout"}) == "here\n"


EMPTY = {"name": "data", "emptyDir": {}}


def mount(path: str) -> dict[str, str]:
    return {"name": "data", "mountPath": path}
