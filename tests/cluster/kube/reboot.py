"""The node restarted, as when its power comes back: all that ran on it has ended at once, and what a machine keeps in
memory is gone: the container runtime's state, control groups, the pods' networks and volumes in memory, packet filters.

etcd, the API server, the controllers and the scheduler are another machine's in most clusters: they go on.
"""

from cluster.kube import cgroups
from cluster.kube.places import STATE
from cluster.kube.running import programs, running, start, wait_for
from cluster.kube.sandbox import BRIDGE, Sandbox

_PROGRAMS = ("containerd", "kubelet", "kube-proxy", "coredns")
"""In the order in which they are started."""
_BOOTED = "containerd successfully booted"
"""The first words of its log by which kubelet is served."""
_SHIM = "containerd-shim-runc-v2"
_FORGET = f"""\
set -e
for place in $(awk '$5 ~ "^/(run|var/lib/kubelet)/" {{ print $5 }}' /proc/self/mountinfo | sort -r); do
  # One may have gone with another one.
  umount --lazy "$place" || ! mountpoint --quiet "$place"
done
rm -rf /run/*
nft flush ruleset
ip link delete {BRIDGE}
"""


def reboot(sandbox: Sandbox) -> None:
    """Return when its programs have been started again; what they start in turn takes its time."""
    stopped = programs(sandbox, _PROGRAMS)
    for each in stopped:
        each.kill()
    for shim in [each for each in running(sandbox) if each.name == _SHIM]:
        shim.kill()
    cgroups.kill()
    sandbox.run(["sh", "-c", _FORGET])
    containerd, *others = stopped
    log = STATE / "logs" / f"{containerd.name}.log"
    before = log.read_text().count(_BOOTED)
    start(sandbox, containerd)
    # kubelet ends where it is not answered, and systemd would start it again.
    wait_for("containerd", lambda: log.read_text().count(_BOOTED) > before)
    for each in others:
        start(sandbox, each)
