"""Starts processes by way of launch.py: as a new container, or within one.

A container's processes have a PID namespace of their own: when the first of them ends, the kernel ends the others.
"""

import asyncio
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import IO, Final, cast

from handfast_lab.node.layout import Entry
from handfast_lab.node.seams import Json

_LAUNCH: Final = Path(__file__).with_name("launch.py")
# Neither the user's settings nor the packages of a virtual environment: this starts faster.
_PYTHON: Final = (sys.executable, "-I", "-S", str(_LAUNCH))
_STDERR: Final = 2
_CLONE_NEWPID: Final = 0x20000000
_libc = ctypes.CDLL(None, use_errno=True)


class CannotStart(Exception):
    """The container's program did not start; the message says which step failed."""


class MachineTree:
    """The machine's files, for layout.plan; what does not change while the lab runs is looked at once."""

    @cache  # noqa: B019 - one tree, as long as the program
    def entry(self, path: str) -> Entry | None:
        """By lstat(2)."""
        place = Path(path)
        try:
            mode = place.lstat().st_mode & 0o7777
            if place.is_symlink():
                return Entry("link", target=str(place.readlink()))
            return Entry("dir" if place.is_dir() else "file", mode)
        except OSError:
            return None

    def names(self, path: str) -> Iterable[str]:
        """A directory that cannot be read has none."""
        try:
            return os.listdir(path)  # noqa: PTH208 - names are all that is asked
        except OSError:
            return ()


@cache
def reach() -> frozenset[str]:
    """Where Python and our own packages are: every container's user must get there."""
    packages = (each for each in sys.path if Path(each).is_dir())
    return frozenset({sys.prefix, sys.base_prefix, str(_LAUNCH.parent), *packages})


class Process:
    """A container's first process."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.pid = popen.pid
        self.output = asyncio.StreamReader()
        """Both of its streams."""
        self._popen = popen
        self._ended = asyncio.Event()
        self._descriptor = os.pidfd_open(popen.pid)
        asyncio.get_running_loop().add_reader(self._descriptor, self._reap)

    async def wait(self) -> int:
        """Its exit code, or the signal that ended it, negative."""
        await self._ended.wait()
        return self._popen.wait()

    def signal(self, number: signal.Signals) -> None:
        """As kill(2); as the first process of its namespace it gets only what it has a handler for, or SIGKILL."""
        self._popen.send_signal(number)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._ended.set()


async def start(spec: Json) -> Process:
    """Start a container. Raises CannotStart."""
    reading, report = os.pipe()
    file = _written(spec)
    try:
        popen = _first_process(file, report)
    except OSError as error:
        os.close(reading)
        raise CannotStart(str(error)) from error
    finally:
        os.close(file)
        os.close(report)
    process, said = Process(popen), asyncio.StreamReader()
    try:
        await _connect(os.fdopen(reading, "rb"), said)
        await _connect(cast(IO[bytes], popen.stdout), process.output)
        problem = await said.read()
    except BaseException:
        process.signal(signal.SIGKILL)
        await process.wait()
        raise
    if problem:
        await process.wait()
        raise CannotStart(problem.decode(errors="replace").strip())
    return process


def _first_process(file: int, report: int) -> subprocess.Popen[bytes]:
    """Of a new PID namespace, and a child of ours: a process between us would cost memory for as long as it runs.

    Only this thread's next child is the first one there, and until we are back this thread may start no other thread;
    so it is asyncio's thread, which does nothing else meanwhile.
    """
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(_CLONE_NEWPID))
        try:
            return subprocess.Popen(
                [*_PYTHON, str(file), str(report)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(file, report),
                start_new_session=True,
            )
        finally:
            _check(_libc.setns(own, _CLONE_NEWPID))
    finally:
        os.close(own)


async def enter(pid: int, spec: Json) -> asyncio.subprocess.Process:
    """Start a process in the namespaces of another, at the head of a session of its own, with pipes for its streams.

    `commands.put_down` ends it before its time. It ends with 128 and a word on its standard error when the program
    cannot be started.
    """
    file = _written(spec)
    try:
        return await asyncio.create_subprocess_exec(
            *("nsenter", f"--target={pid}", "--mount", "--uts", "--net", "--pid", "--"),
            *(*_PYTHON, str(file), str(_STDERR)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(file,),
            start_new_session=True,
        )
    finally:
        os.close(file)


def _written(spec: Json) -> int:
    """Larger than a pipe takes at once."""
    file = os.memfd_create("container")
    os.write(file, json.dumps(spec).encode())
    os.lseek(file, 0, os.SEEK_SET)
    return file


async def _connect(pipe: IO[bytes], reader: asyncio.StreamReader) -> None:
    """The pipe is closed at its end."""
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
