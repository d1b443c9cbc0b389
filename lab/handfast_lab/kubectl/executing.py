"""`exec`: a command in a container, over the channels of `v5.channel.k8s.io`."""

import contextlib
import io
import json
import os
import termios
import threading
import tty
from collections.abc import Iterator
from typing import Any, Final

from handfast_lab.kubectl.pods import container_of, pod_of
from handfast_lab.kubectl.refusals import Stop
from handfast_lab.kubectl.session import Bytes, Session
from handfast_lab.kubectl.websocket import WebSocket, connected

Json = dict[str, Any]
PROTOCOL: Final = "v5.channel.k8s.io"
STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
ERROR: Final = 3
RESIZE: Final = 4
CLOSE: Final = 255
_CHUNK: Final = 32 << 10


def execute(session: Session) -> int:
    """The exit code of the command. Raises Stop, Refusal."""
    line = session.line
    if len(line.words) != 1 or not line.command:
        raise Stop("error: you must specify at least one command for the container")
    target, pod = pod_of(session, line.words[0], tell=False)
    stdin, terminal = line.flag("stdin"), line.flag("tty")
    if terminal and not session.stdin.isatty():
        session.stderr.write("Unable to use a TTY - input is not a terminal or the right kind of file\n")
        terminal = False
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        raise Stop(f"error: cannot exec into a container in a completed pod; current phase is {pod['status']['phase']}")
    flags = {"stdin": stdin, "stdout": True, "stderr": not terminal, "tty": terminal}
    query = {"command": line.command, "container": container_of(session, pod)}
    query |= {name: str(value).lower() for name, value in flags.items()}
    with contextlib.ExitStack() as ending:
        channels = ending.enter_context(connected(session.server, target.path("exec"), query, PROTOCOL))
        if terminal:
            ending.enter_context(_raw_terminal(session, channels))
        if stdin:
            threading.Thread(target=_give, args=(session, channels), daemon=True).start()
        status = _take(session, channels)
    return _exit_code(session, status)


def _take(session: Session, channels: WebSocket) -> Json:
    """Pass on what the command says; the Status at its end."""
    outputs = {STDOUT: Bytes(session.stdout), STDERR: Bytes(session.stderr)}
    status: Json | None = None
    try:
        for message in channels.messages():
            channel, data = message[0], message[1:]
            if channel in outputs:
                outputs[channel].write(data)
            elif channel == ERROR and data:
                status = json.loads(data)
    except (EOFError, OSError) as error:
        if status is None:
            raise Stop("error: the connection to the server was lost before the command ended") from error
    return status or {"status": "Success"}


def _give(session: Session, channels: WebSocket) -> None:
    """What the user types, until it ends or the command does."""
    with contextlib.suppress(OSError):
        try:
            descriptor = session.stdin.fileno()
            # Not the stream's own buffer: a thread that waits in it would hold its lock when the program ends.
            while data := os.read(descriptor, _CHUNK):
                channels.send(bytes([STDIN]) + data)
        except io.UnsupportedOperation:
            channels.send(bytes([STDIN]) + session.stdin.read().encode())
        channels.send(bytes([CLOSE, STDIN]))


def _exit_code(session: Session, status: Json) -> int:
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            session.stderr.write(f"command terminated with exit code {cause['message']}\n")
            return int(cause["message"])
    raise Stop(f"error: {status.get('message', 'the command failed')}")


@contextlib.contextmanager
def _raw_terminal(session: Session, channels: WebSocket) -> Iterator[None]:
    """Every key goes to the command, which also learns the terminal's size."""
    size = os.get_terminal_size(session.stdin.fileno())
    channels.send(bytes([RESIZE]) + json.dumps({"Width": size.columns, "Height": size.lines}).encode())
    before = termios.tcgetattr(session.stdin)
    try:
        tty.setraw(session.stdin)
        yield
    finally:
        termios.tcsetattr(session.stdin, termios.TCSADRAIN, before)
