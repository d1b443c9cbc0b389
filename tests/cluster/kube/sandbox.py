"""The namespaces a cluster lives in, and its one link: a cable to this machine, with no route that leads any further.

Inside, /run, /var/log and /var/lib are the cluster's own, so each part keeps its default paths.
"""

import json
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster.kube import cgroups
from cluster.kube.commands import run
from cluster.kube.errors import ClusterRunning, PartDied
from cluster.kube.places import KUBECONFIG, OUTSIDE, STATE
from cluster.kube.processes import ProcessId
from cluster.kube.variant import POD_RANGE, POD_RANGE6, SERVICE_RANGE, SERVICE_RANGE6, Variant

log = logging.getLogger(__name__)

# TEST-NET-2 of RFC 5737: nobody's address, so no route of this machine is hidden by it.
HOST_ADDRESS = "198.51.100.1"
NODE_ADDRESS = "198.51.100.2"
# RFC 3849: for documentation, so nobody's either.
HOST_ADDRESS6 = "2001:db8:198:51::1"
NODE_ADDRESS6 = "2001:db8:198:51::2"
CABLE = "handfast0"
BRIDGE = "cni0"

RECORD = STATE / "sandbox.json"


@dataclass(frozen=True, slots=True)
class Record:
    """What the next run must know of this one, whatever becomes of it."""

    init: ProcessId
    owner: ProcessId | None
    """Who ends the cluster; None when a person does (`make cluster-up`)."""

    @classmethod
    def load(cls) -> "Record | None":
        """The record of the cluster on this machine; None when there is none, or only a beginning of one."""
        try:
            fields = json.loads(RECORD.read_text())
        except FileNotFoundError:
            return None
        return cls(ProcessId(**fields["init"]), fields["owner"] and ProcessId(**fields["owner"]))

    def save(self) -> None:
        """Written whole or not at all."""
        fresh = RECORD.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self)))
        fresh.rename(RECORD)


class Sandbox:
    """Namespaces that hold a cluster. `create` makes them, `destroy` ends everything in them."""

    bridge = BRIDGE

    def __init__(self, record: Record) -> None:
        self.record = record
        self.children: list[subprocess.Popen[bytes]] = []
        """What this process started in it, to be waited for when it has ended."""

    @classmethod
    def running(cls) -> "Sandbox | None":
        """The one on this machine, when its first process lives."""
        record = Record.load()
        return cls(record) if record and record.init.alive() else None

    @classmethod
    def create(cls, binaries: Path, variant: Variant, *, keep: bool) -> "Sandbox":
        """Empty namespaces with `binaries` at INSIDE/bin; what a killed run left is removed first."""
        refuse_to_replace_a_living_one()
        destroy()
        STATE.mkdir(mode=0o700, parents=True)
        for folder in (OUTSIDE / "bin", OUTSIDE / "etc", STATE / "var-log", STATE / "logs"):
            folder.mkdir(parents=True)
        launcher, init = _start_init()
        sandbox = cls(Record(init, None if keep else ProcessId.own()))
        sandbox.record.save()
        sandbox.children.append(launcher)
        sandbox._furnish(binaries, variant)
        return sandbox

    @property
    def network(self) -> Path:
        """Its network namespace."""
        return Path(f"/proc/{self.record.init.pid}/ns/net")

    def enter(self, command: Sequence[str | Path]) -> list[str]:
        """The same command, to be run inside."""
        namespaces = ["--mount", "--net", "--pid"]
        return ["nsenter", f"--target={self.record.init.pid}", *namespaces, "--", *map(str, command)]

    def run(self, command: Sequence[str | Path], *, stdin: str | None = None, timeout_s: float = 120) -> str:
        """Run a tool inside to its end and give its output."""
        return run(self.enter(command), stdin=stdin, timeout_s=timeout_s)

    def end(self) -> None:
        """End all that runs in it, and remove all it made."""
        destroy()
        for child in self.children:
            child.wait(timeout=30)

    def _furnish(self, binaries: Path, variant: Variant) -> None:
        self.run(["mount", "--bind", binaries, OUTSIDE / "bin"])  # before /var/lib hides where it may be
        self.run(["mount", "--bind", STATE / "var-log", "/var/log"])
        self.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"])
        self.run(["mount", "--rbind", STATE / "var-lib", "/var/lib"])
        link = ["ip", "link", "add", CABLE, "type", "veth", "peer", "name", "uplink"]
        run([*link, "netns", str(self.record.init.pid)])
        run(["ip", "address", "add", f"{HOST_ADDRESS}/30", "dev", CABLE])
        run(["ip", "link", "set", CABLE, "up"])
        for words in (
            ["link", "set", "lo", "up"],
            ["address", "add", f"{NODE_ADDRESS}/30", "dev", "uplink"],
            ["link", "set", "uplink", "up"],
            # The API server dials webhooks by their Service: without any route the kernel gives up before kube-proxy's
            # rules are asked.
            ["route", "add", SERVICE_RANGE, "via", HOST_ADDRESS, "src", NODE_ADDRESS],
        ):
            self.run(["ip", *words])
        for reached in (POD_RANGE, SERVICE_RANGE):  # so that a test can dial a pod without being one
            run(["ip", "route", "add", reached, "via", NODE_ADDRESS, "dev", CABLE])
        if variant.dual_stack:
            self._furnish6()
        self.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
        # A pod's answer to a pod on the same bridge must pass netfilter too, or a Service's address is not put back.
        self.run(["sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1"])
        cgroups.create()

    def _furnish6(self) -> None:
        run(["ip", "address", "add", f"{HOST_ADDRESS6}/126", "dev", CABLE, "nodad"])
        self.run(["ip", "address", "add", f"{NODE_ADDRESS6}/126", "dev", "uplink", "nodad"])
        self.run(["ip", "route", "add", SERVICE_RANGE6, "via", HOST_ADDRESS6, "src", NODE_ADDRESS6])
        for reached in (POD_RANGE6, SERVICE_RANGE6):
            run(["ip", "route", "add", reached, "via", NODE_ADDRESS6, "dev", CABLE])
        self.run(["sysctl", "-qw", "net.ipv6.conf.all.forwarding=1", "net.bridge.bridge-nf-call-ip6tables=1"])


def _start_init() -> tuple[subprocess.Popen[bytes], ProcessId]:
    ready = STATE / "init.ready"
    script = Path(__file__).with_name("init.py")
    command = ["unshare", "--pid", "--fork", "--mount", "--propagation", "private", "--net"]
    with (STATE / "logs" / "init.log").open("wb") as output:
        launcher = subprocess.Popen(
            [*command, "--", sys.executable, "-I", str(script), str(ready)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + 30
    while not ready.exists():
        if launcher.poll() is not None or time.monotonic() > deadline:
            raise PartDied(f"no namespaces for the cluster: {(STATE / 'logs' / 'init.log').read_text()}")
        time.sleep(0.02)
    pid, start_ticks = ready.read_text().split()
    return launcher, ProcessId(int(pid), int(start_ticks))


def refuse_to_replace_a_living_one() -> None:
    """A cluster that someone keeps, or whose test run goes on, is not ours to end."""
    record = Record.load()
    if record is None or not record.init.alive():
        return
    if record.owner is None:
        raise ClusterRunning(
            f"a cluster is kept on this machine: use it with HANDFAST_KUBECONFIG={KUBECONFIG}, "
            "or end it with `make cluster-down`"
        )
    if record.owner.alive() and record.owner != ProcessId.own():
        raise ClusterRunning(
            f"process {record.owner.pid} runs its tests on the cluster of this machine: wait for its end"
        )


def destroy() -> None:
    """End the cluster on this machine, and remove all it made; also what is left of one that was killed half-way."""
    record = Record.load()
    if record is not None:
        record.init.kill()
    elif (STATE / "init.ready").exists():  # killed between the start and the record
        pid, start_ticks = (STATE / "init.ready").read_text().split()
        ProcessId(int(pid), int(start_ticks)).kill()
    if Path(f"/sys/class/net/{CABLE}").exists():
        run(["ip", "link", "delete", CABLE])
    cgroups.remove()
    if STATE.exists():
        shutil.rmtree(STATE)
