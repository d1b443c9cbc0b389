"""The lab's namespaces: what is made in them is not seen outside, and goes with whoever started them."""

import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from handfast_lab.network import isolation

ANNOUNCE = """
import os
lifeline = os.environ["HANDFAST_LAB_LIFELINE"]
print(lifeline, flush=True)
os.read(int(lifeline), 1)
"""
STARTER = f"""
import os, signal, sys
from handfast_lab.network import isolation
isolation.start([sys.executable, "-c", {ANNOUNCE!r}], os.environ)
signal.pause()
"""
NETWORK = """
import asyncio
from handfast_lab.network import isolation
from handfast_lab.network.commands import run
from handfast_lab.network.links import PodNetwork

DIAL = '''
import socket, sys
try:
    socket.create_connection((sys.argv[1], 99), 5)
except ConnectionRefusedError:
    print("reached")
'''

async def main():
    isolation.settle()
    network = PodNetwork(isolation.STATE / "network")
    await network.start()
    one, other = await network.attach("uid-1"), await network.attach("uid-2")
    for address in other.addresses:
        print(await run(["nsenter", f"--net={one.netns}", "python3", "-c", DIAL, address]), end="")
    # Whoever follows the node's redirect to a neighbour cannot hear him.
    way = await run(["nsenter", f"--net={one.netns}", "ip", "-6", "route", "get", other.addresses[1]])
    print(way.split()[3:5])
    await network.release("uid-1")
    print(sorted(each.name for each in (isolation.STATE / "network").iterdir()))

asyncio.run(main())
"""

GOING = """
import asyncio
from handfast_lab.network import isolation
from handfast_lab.network.addresses import GATEWAYS
from handfast_lab.network.commands import run
from handfast_lab.network.links import PodNetwork

async def main():
    isolation.settle()
    network = PodNetwork(isolation.STATE / "network")
    await network.start()
    going, staying = await network.attach("uid-1"), await network.attach("uid-2")
    await run(["ip", "link", "set", going.interface, "address", "02:00:00:00:00:01"])  # lower than any that is drawn
    dial = ["nsenter", f"--net={staying.netns}", "python3", "-c", DIAL, str(GATEWAYS[0])]
    print(await run(dial), end="")
    await network.release("uid-1")
    while going.interface in await run(["ip", "-o", "link"]):
        await asyncio.sleep(0.01)
    print(await run(dial), end="")

DIAL = '''
import socket, sys
try:
    socket.create_connection((sys.argv[1], 99), 5)
except ConnectionRefusedError:
    print("reached")
'''

asyncio.run(main())
"""


def inside(script: str) -> isolation.Isolated:
    return isolation.start([sys.executable, "-c", script], os.environ)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_two_pods_reach_each_other_by_both_families_and_nothing_is_seen_outside(
    capfd: pytest.CaptureFixture[str],
) -> None:
    interfaces = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert inside(NETWORK).process.wait(30) == 0
    assert capfd.readouterr().out.splitlines() == ["reached", "reached", "['via', 'fd00:10:244::1']", "['uid-2']"]
    assert subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout == interfaces
    assert not (isolation.STATE / "network").exists()


def test_a_pod_that_goes_takes_nobodys_way_to_the_node_with_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert inside(GOING).process.wait(30) == 0
    assert capfd.readouterr().out.splitlines() == ["reached", "reached"]


def test_it_ends_when_the_lifeline_closes() -> None:
    running = inside(ANNOUNCE)
    running.let_go()
    assert running.wait() == 0


def test_it_ends_when_whoever_started_it_is_killed() -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    assert starter.stdout.readline().strip().isdigit()
    (unshare,) = children(starter.pid)
    (first,) = children(unshare)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    until(lambda: not Path(f"/proc/{first}").exists() and not Path(f"/proc/{unshare}").exists())
    starter.stdout.close()


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(isolation.TOOLS, "no-such-tool", "no-such-package")
    with pytest.raises(isolation.CannotIsolate, match="install no-such-package with your package manager"):
        isolation.check_machine()


def test_a_user_without_subordinate_ids_is_told_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr(os, "getuid", lambda: pwd.getpwnam("nobody").pw_uid)
    monkeypatch.setattr(isolation, "SUBORDINATE_IDS", tmp_path / "subuid")
    with pytest.raises(isolation.CannotIsolate, match="usermod --add-subuids 100000-165535"):
        isolation.check_machine()
