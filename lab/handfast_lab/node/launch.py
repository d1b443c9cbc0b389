"""Becomes a container, or a further process in one: `python -I -S launch.py SPEC_FD REPORT_FD`.

The one rule: the standard library alone, and little of it, for every container waits for this start. The agent runs it
as the first process of a PID namespace, or inside a container's namespaces by nsenter(1). REPORT_FD tells why it
failed; it closes without a word when the container's program takes over.
"""

# Importing pathlib takes as long as all that is done here:
# ruff: noqa: PTH102, PTH103, PTH112, PTH120, PTH123, PTH211
import ctypes
import json
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_MNT_DETACH = 2
_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWNET = 0x20000, 0x4000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_MOUNT_SETATTR = 442
"""The call's number, the same on every architecture; glibc has had a name for it only since 2.36."""
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = -100, 0x8000, 0x1
_LAST_CAPABILITY = "/proc/sys/kernel/cap_last_cap"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}


def main() -> None:
    """Never returns: the container's program takes its place, or the process ends with 128."""
    report = int(sys.argv[2])
    if report > 2:
        os.set_inheritable(report, False)
    try:
        with os.fdopen(int(sys.argv[1]), "rb") as file:
            spec = json.load(file)
        if spec["container"]:
            _isolate(spec["container"])
        else:
            os.setsid()
        _become(spec)
        _run(spec)
    except OSError as error:
        os.write(report, f"{error.strerror or error}: {error.filename or ''}\n".encode())
    os._exit(128)


def _isolate(container: "dict[str, Any]") -> None:
    """Leave the node's network, and its files: only what the plan names is left."""
    if container["netns"]:
        descriptor = os.open(container["netns"], os.O_RDONLY | os.O_CLOEXEC)
        _check(_libc.setns(descriptor, _CLONE_NEWNET), container["netns"])
        os.close(descriptor)
    _check(_libc.unshare(_CLONE_NEWNS | _CLONE_NEWUTS), "unshare")
    name = container["hostname"].encode()
    _check(_libc.sethostname(name, len(name)), "sethostname")
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    root = container["root"]
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID, "mode=0755")
    os.umask(0)
    for step in container["mirror"]:
        _mirror(root, *step)
    os.umask(0o022)
    _set_read_only(root, recursive=True)
    _set_read_only(root, clear=True)
    _devices(root)
    _mount("proc", f"{root}/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    for mount in container["mounts"]:
        _bind(mount["source"], root + mount["target"])
    for mount in container["mounts"]:
        if mount["read_only"]:
            _set_read_only(root + mount["target"])
    os.chdir(root)
    # Both at one place: the old root is then over the new one, and goes (pivot_root(2), "pivot_root(".", ".")").
    _check(_libc.pivot_root(b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", _MNT_DETACH), "umount")
    os.chdir("/")


def _mirror(root: str, verb: str, path: str, argument: "Any") -> None:
    """One step of layout.plan."""
    if verb == "dir":
        os.mkdir(root + path, argument)
    elif verb == "link":
        os.symlink(argument, root + path)
    else:
        _bind(argument, root + path)


def _devices(root: str) -> None:
    """A container's /dev as the OCI runtime specification has it ("Default Devices")."""
    for name in _DEVICES:
        _bind(f"/dev/{name}", f"{root}/dev/{name}")
    for name, target in _DEVICE_LINKS.items():
        os.symlink(target, f"{root}/dev/{name}")
    _mount("devpts", f"{root}/dev/pts", "devpts", _MS_NOSUID | _MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")


def _bind(source: str, target: str) -> None:
    """With everything below: in a user namespace the kernel does not show what is under a mount that it inherited."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    _mount(source, target, None, _MS_BIND | _MS_REC)


def _set_read_only(path: str, *, recursive: bool = False, clear: bool = False) -> None:
    """mount_setattr(2) changes this flag alone, so that those which the kernel has locked stay as they are."""
    attributes = (ctypes.c_uint64 * 4)(0 if clear else _MOUNT_ATTR_RDONLY, _MOUNT_ATTR_RDONLY if clear else 0)
    _check(
        _libc.syscall(
            ctypes.c_long(_MOUNT_SETATTR),
            ctypes.c_int(_AT_FDCWD),
            os.fsencode(path),
            ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
            ctypes.byref(attributes),
            ctypes.c_size_t(ctypes.sizeof(attributes)),
        ),
        f"mount_setattr (Linux 5.12 or later) {path}",
    )


def _mount(source: str, target: str, kind: "str | None", flags: int, options: str = "") -> None:
    arguments = (os.fsencode(source), os.fsencode(target), kind.encode() if kind else None)
    _check(_libc.mount(*arguments, ctypes.c_ulong(flags), options.encode() or None), f"mount {target}")


def _become(spec: "dict[str, Any]") -> None:
    """The user, and no more capabilities than the container may have."""
    for stream in (1, 2):
        # A program that opens /dev/stdout opens this pipe anew; runc gives it to the container's user too.
        os.fchown(stream, spec["user"], -1)
    with open(_LAST_CAPABILITY, encoding="ascii") as file:
        last = int(file.read())
    for capability in set(range(last + 1)) - set(spec["capabilities"]):
        _check(_libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0), "prctl")
    os.setgroups(spec["groups"])
    os.setresgid(spec["group"], spec["group"], spec["group"])
    os.setresuid(spec["user"], spec["user"], spec["user"])
    if spec["no_new_privileges"]:
        _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0), "prctl")
    # After the change of user, which undoes it: no container lives longer than the agent.
    _check(_libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0), "prctl")
    os.umask(0o022)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        # Python ignores them, and a program that is executed keeps what is ignored.
        signal.signal(number, signal.SIG_DFL)


def _run(spec: "dict[str, Any]") -> None:
    os.chdir(spec["working_dir"])
    os.environ.clear()
    os.environ.update(spec["environment"])
    if spec["tty"]:
        import pty  # noqa: PLC0415 - seldom asked for

        os._exit(os.waitstatus_to_exitcode(pty.spawn(spec["argv"])))
    try:
        os.execvp(spec["argv"][0], spec["argv"])  # noqa: S606 - this is what a container is
    except OSError as error:
        error.filename = spec["argv"][0]
        raise


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)


if __name__ == "__main__":
    main()
