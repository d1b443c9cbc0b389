"""The lab in namespaces of its own: user (when not root), mount, PID and network.

The one rule: nothing outlives it. What the lab makes lives in those namespaces, their first process is the lab itself,
and the kernel takes everything away with it. The lab ends when its lifeline, a pipe from whoever started it, closes:
so it ends too when that one is killed.
"""

import ctypes
import errno
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

TOOLS: Final[dict[str, str]] = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "ip": "iproute2",
    "nft": "nftables",
    "sysctl": "procps",
}
"""What the lab starts, and the package that has it in most distributions."""
OLDEST_KERNEL: Final = (5, 12)
"""The first with mount_setattr(2)."""
STATE: Final = Path("/dev/shm")  # noqa: S108 - a fresh tmpfs over it, in a mount namespace of our own
"""A directory that every Linux has, and that the lab covers with a tmpfs of its own."""
SUBORDINATE_IDS: Final = Path("/etc/subuid")
"""subuid(5): the users that a user may hand out; /etc/subgid goes with it."""
LIFELINE: Final = "HANDFAST_LAB_LIFELINE"
ENDING_S: Final = 15.0
"""Seconds from letting go until it is killed."""
_SYSTEM_PLACES: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_libc = ctypes.CDLL(None, use_errno=True)


class CannotIsolate(Exception):
    """This machine cannot hold a lab; the sentence says what is missing, and what to do."""


def check_machine() -> None:
    """Raise CannotIsolate when something is missing that the lab needs."""
    if sys.platform != "linux" or _kernel() < OLDEST_KERNEL:
        raise CannotIsolate(
            f"the lab needs Linux {'.'.join(map(str, OLDEST_KERNEL))} or newer: its pods are namespaces"
        )
    missing = sorted({package for tool, package in TOOLS.items() if _tool(tool) is None})
    if missing:
        raise CannotIsolate(f"install {' and '.join(missing)} with your package manager (as root), then run this again")
    if os.geteuid() == 0:
        return
    if _tool("newuidmap") is None:
        raise CannotIsolate(
            "run this as root, or install uidmap: without root, the lab needs newuidmap to have several users"
        )
    name = pwd.getpwuid(os.getuid()).pw_name
    if not _has_range(SUBORDINATE_IDS, name):
        raise CannotIsolate(
            f"run this as root, or give {name} subordinate users: "
            f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
        )
    done = subprocess.run([*_unshare(), "true"], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise CannotIsolate(
            "run this as root: here a user may not make namespaces of his own "
            f"({done.stderr.strip() or 'unshare failed'}); "
            "the settings kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns decide it"
        )


def start(command: Sequence[str], environment: Mapping[str, str], *, keep: Sequence[int] = ()) -> "Isolated":
    """Run a command as the first process of new namespaces; it finds the lifeline's descriptor in LIFELINE.

    `keep`: further descriptors that it inherits. Raises CannotIsolate.
    """
    check_machine()
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(
            [*_unshare(), *command],
            env={**environment, LIFELINE: str(reading), "PATH": _path()},
            pass_fds=(reading, *keep),
            start_new_session=True,  # Ctrl-C is for whoever started us: he ends us in order
        )
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    return Isolated(process, writing)


class Isolated:
    """The running lab, seen from outside."""

    def __init__(self, process: subprocess.Popen[bytes], lifeline: int) -> None:
        self.process = process
        self._lifeline: int | None = lifeline

    def let_go(self) -> None:
        """Let go of the lifeline: it ends soon. Calling it again changes nothing."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def wait(self) -> int:
        """Until it has ended, killed when it does not although it was let go; the exit code."""
        while True:
            try:
                return self.process.wait(ENDING_S)
            except subprocess.TimeoutExpired:
                if self._lifeline is None:
                    self.process.kill()  # unshare's --kill-child takes the rest along


def settle() -> None:
    """Called first inside: a tmpfs for what the lab writes, and no mount that leaks out. Raises OSError."""
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    _mount("handfast-lab", str(STATE), "tmpfs", 0, "mode=0755")


def bind(source: Path, target: Path) -> None:
    """Bind-mount a file or directory. Raises OSError."""
    _mount(str(source), str(target), None, _MS_BIND)


def unbind(target: Path) -> None:
    """Undo `bind`; what is not mounted is no error."""
    if _libc.umount2(os.fsencode(target), _MNT_DETACH) != 0 and ctypes.get_errno() not in (errno.EINVAL, errno.ENOENT):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))
    with suppress(FileNotFoundError):
        target.unlink()


_MS_BIND: Final = 1 << 12
_MS_REC: Final = 1 << 14
_MS_PRIVATE: Final = 1 << 18
_MNT_DETACH: Final = 2


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """mount(2)."""
    arguments = (os.fsencode(source), os.fsencode(target), kind.encode() if kind else None)
    if _libc.mount(*arguments, ctypes.c_ulong(flags), options.encode() or None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), target)


def _unshare() -> list[str]:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user", "--map-auto"]
    return [_tool("unshare") or "unshare", *user, "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]


def _path() -> str:
    """PATH with the places of administrators' tools, which a user's often lacks."""
    known = os.environ.get("PATH", "/usr/bin:/bin").split(":")
    return ":".join([*known, *(place for place in _SYSTEM_PLACES if place not in known)])


def _tool(name: str) -> str | None:
    return shutil.which(name, path=_path())


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


def _has_range(file: Path, name: str) -> bool:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return False
    return any(line.split(":")[0] in (name, str(os.getuid())) for line in lines)
