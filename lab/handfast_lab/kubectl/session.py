"""What a verb works with: its command line, the server, the kinds, and where its words go."""

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

import yaml

from handfast_lab.kubectl.arguments import Line
from handfast_lab.kubectl.calls import Server
from handfast_lab.kubectl.kinds import Kind, Kinds
from handfast_lab.kubectl.refusals import Stop
from handfast_operator.cluster.access import NoAccess, read_kubeconfig

Json = dict[str, Any]
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smh]|)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Session:
    """One command."""

    line: Line
    server: Server
    kinds: Kinds
    namespace: str
    """Where objects are that name no namespace: `--namespace`, else the kubeconfig's, else `default`."""
    stdin: TextIO
    stdout: TextIO
    stderr: TextIO

    def say(self, text: str) -> None:
        """A line on standard output, at once: who waits for a rollout reads it meanwhile."""
        self.stdout.write(text + "\n")
        self.stdout.flush()

    def dry(self) -> Json:
        """The query that `--dry-run` stands for. Raises Stop."""
        if (how := self.line.one("dry-run", "none")) not in ("none", "server"):
            raise Stop(
                f'error: --dry-run={how} is not known to the little kubectl of the lab: it is "server" or "none"'
            )
        return {"dryRun": "All"} if how == "server" else {}

    def done(self, kind: Kind, name: str, what: str) -> None:
        """`pod/web created`, or the name alone with `-o name`."""
        if self.line.one("output") == "name":
            self.say(kind.told(name))
        else:
            self.say(f"{kind.told(name)} {what}{' (server dry run)' if self.dry() else ''}")


class Bytes:
    """Writes bytes to a text stream, which may be one of the demo's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def write(self, data: bytes) -> None:
        """At once."""
        raw = getattr(self._stream, "buffer", None)
        if raw is None:
            self._stream.write(self._decoder.decode(data))
        else:
            raw.write(data)
        self._stream.flush()


def open_session(line: Line, environment: Mapping[str, str], stdin: TextIO, stdout: TextIO, stderr: TextIO) -> Session:
    """By `--kubeconfig`, KUBECONFIG, or the file of one's home. Raises Stop."""
    home = Path(environment.get("HOME", "/")) / ".kube" / "config"
    path = Path(line.one("kubeconfig") or environment.get("KUBECONFIG") or home)
    try:
        access = read_kubeconfig(path)
    except NoAccess as problem:
        raise Stop(f"error: {problem}") from problem
    wait_s = seconds(line.one("request-timeout", "0"))
    server = Server(access, acting_as=line.one("as"), timeout_s=wait_s, warn=stderr)
    namespace = line.one("namespace") or _namespace(path)
    return Session(line, server, Kinds(server), namespace, stdin, stdout, stderr)


def seconds(text: str) -> float:
    """A duration as Go writes it (`90s`, `1h30m`, `500ms`); bare numbers are seconds. Raises Stop."""
    parts = _DURATION.findall(text)
    if not parts or "".join(f"{number}{unit}" for number, unit in parts) != text.removeprefix("-"):
        raise Stop(f'error: "{text}" is no duration: such as 30s or 1m30s')
    total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return -total if text.startswith("-") else total


def _namespace(path: Path) -> str:
    """Of the current context; the file was understood already."""
    document = yaml.safe_load(path.read_text())
    for each in document.get("contexts") or ():
        if each["name"] == document["current-context"]:
            return str(each["context"].get("namespace") or "default")
    return "default"
