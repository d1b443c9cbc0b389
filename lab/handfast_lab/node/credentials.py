"""Who a container's processes are: user, groups, capabilities, as its security context says. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from handfast_lab.node.seams import ImageSpec, Json

_BY_NUMBER: Final = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
"""linux/capability.h"""
_DEFAULT: Final = (
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID "
    "SYS_CHROOT"
)
"""What containerd gives."""


class CannotConfigure(Exception):
    """The container's spec cannot be carried out as it stands; kubelet's reason: CreateContainerConfigError."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """As launch.py takes them."""

    user: int
    group: int
    groups: tuple[int, ...]
    capabilities: tuple[int, ...]
    """That root may have; another user has none."""
    no_new_privileges: bool


def credentials(pod: Json, container: Json, image: ImageSpec) -> Credentials:
    """The container's own settings win over the pod's, and those over the image's. Raises CannotConfigure."""
    wide: Mapping[str, Any] = pod["spec"].get("securityContext") or {}
    context: Mapping[str, Any] = {**wide, **(container.get("securityContext") or {})}
    user = context.get("runAsUser", image.user)
    if context.get("runAsNonRoot") and user == 0:
        raise CannotConfigure("container has runAsNonRoot and image will run as root")
    group = context.get("runAsGroup", image.group if "runAsUser" not in context else 0)
    further = [*(wide.get("supplementalGroups") or ()), *([wide["fsGroup"]] if "fsGroup" in wide else [])]
    return Credentials(
        user,
        group,
        tuple(dict.fromkeys([group, *further])),
        tuple(sorted(_numbers(context))),
        context.get("allowPrivilegeEscalation") is False,
    )


def _numbers(context: Mapping[str, Any]) -> set[int]:
    every = _BY_NUMBER.split()
    wanted = {"add": ["ALL"]} if context.get("privileged") else context.get("capabilities") or {}
    dropped, added = ({each.upper().removeprefix("CAP_") for each in wanted.get(key) or ()} for key in ("drop", "add"))
    unknown = added - {"ALL", *every}
    if unknown:
        raise CannotConfigure(f"unknown capability: {', '.join(sorted(unknown))}")
    kept = set() if "ALL" in dropped else set(_DEFAULT.split()) - dropped
    return {every.index(each) for each in kept | (set(every) if "ALL" in added else added)}
