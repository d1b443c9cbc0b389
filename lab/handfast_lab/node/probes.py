"""Probes and hooks: one question to a container, and what a row of answers means.

Asked from the node's network, as kubelet asks: by the client that our sidecar has for the same questions.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from handfast_lab.node.seams import Json
from handfast_sidecar.config import probes as wire
from handfast_sidecar.traffic.probes import run_probe

KINDS: Final = {"startupProbe": "Startup", "livenessProbe": "Liveness", "readinessProbe": "Readiness"}
_NOT_ASKED: Final = "probe failed: "
"""How our sidecar's client begins when there was no answer to pass on."""
HOOK_TIMEOUT_S: Final = 300
"""Seconds for a postStart hook, which kubelet does not limit; preStop has the pod's grace period."""

Execute = Callable[[list[str]], Awaitable[tuple[int, str]]]
"""Runs a command in the container: its exit code and what it said."""


class PortUnknown(Exception):
    """A probe names a port that the container does not have."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question."""

    success: bool
    message: str = ""


class Row:
    """Counts answers: a verdict only after enough of one kind in a row."""

    def __init__(self, probe: Mapping[str, Any]) -> None:
        self._needed = {True: probe.get("successThreshold") or 1, False: probe.get("failureThreshold") or 3}
        self._last: bool | None = None
        self._count = 0

    def add(self, success: bool) -> bool | None:
        """Success or failure; None: too early to say."""
        self._count = self._count + 1 if success == self._last else 1
        self._last = success
        return success if self._count >= self._needed[success] else None


async def ask(handler: Mapping[str, Any], container: Json, address: str, execute: Execute, timeout_s: float) -> Answer:
    """One question, or one call of a hook."""
    try:
        async with asyncio.timeout(timeout_s):
            if "exec" in handler:
                code, said = await execute(handler["exec"]["command"])
                return Answer(code == 0, said)
            if "sleep" in handler:
                await asyncio.sleep(handler["sleep"]["seconds"])
                return Answer(success=True)
            result = await run_probe(_wire(handler, container, timeout_s), address)
    except TimeoutError:
        return Answer(success=False, message=f"no answer within {timeout_s:g} s")
    except PortUnknown as problem:
        return Answer(success=False, message=str(problem))
    said = result.body.decode(errors="replace").strip()
    if said.startswith(_NOT_ASKED):
        return Answer(success=False, message=said.removeprefix(_NOT_ASKED))
    return Answer(200 <= result.status < 400, f"HTTP probe failed with statuscode: {result.status}")


async def answers(
    probe: Mapping[str, Any], question: Callable[[float], Awaitable[Answer]]
) -> AsyncIterator[tuple[bool | None, Answer]]:
    """Every answer, with what its row means, for ever."""
    row = Row(probe)
    await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
    while True:
        answer = await question(probe.get("timeoutSeconds") or 1)
        yield row.add(answer.success), answer
        await asyncio.sleep(probe.get("periodSeconds") or 10)


def _wire(handler: Mapping[str, Any], container: Json, timeout_s: float) -> wire.Probe:
    limit_s = max(1, round(timeout_s))
    if "httpGet" in handler:
        http = handler["httpGet"]
        return wire.HttpProbe(
            _port(http["port"], container),
            http.get("path") or "/",
            http.get("scheme") or "HTTP",
            http.get("host") or "",
            tuple((each["name"], each.get("value") or "") for each in http.get("httpHeaders") or ()),
            limit_s,
        )
    if "grpc" in handler:
        return wire.GrpcProbe(handler["grpc"]["port"], handler["grpc"].get("service") or "", limit_s)
    tcp = handler["tcpSocket"]
    return wire.TcpProbe(_port(tcp["port"], container), tcp.get("host") or "", limit_s)


def _port(port: int | str, container: Json) -> int:
    for each in container.get("ports") or ():
        if each.get("name") == port:
            return int(each["containerPort"])
    try:
        return int(port)
    except ValueError:
        raise PortUnknown(f"couldn't find port: {port!r}") from None
