"""`version`: of this program, of the operator's parts as they run, and of the sidecars, with how many run each."""

import argparse
import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from handfast_operator import __version__
from handfast_operator.cli.errors import UNKNOWN, YES
from handfast_operator.cli.installation import version_of
from handfast_operator.cli.output import say, show, table, warn
from handfast_operator.cli.reader import Reader
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import PODS
from handfast_operator.cluster.objects import Pod, parse_pod
from handfast_operator.cluster.parts import COMPONENT_LABEL, PARTS

NAME: Final = "version"
HELP: Final = "of this program, the operator and the sidecars"
VERSION: Final = 1
_COLUMNS: Final = ("PART", "VERSION", "PODS", "READY", "IMAGE")
Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """Pods of one part that run the same image."""

    part: str
    image: str
    pods: int
    ready: int

    @property
    def version(self) -> str:
        return version_of(self.image)

    def as_json(self) -> dict[str, Any]:
        return {"version": self.version, "pods": self.pods, "ready": self.ready, "image": self.image}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Of what."""
    parser.add_argument("--client", action="store_true", help="of this program alone, without a cluster")


def without_cluster(args: argparse.Namespace) -> bool:
    """Whether no cluster is asked."""
    return bool(args.client)


async def run(args: argparse.Namespace, client: ApiClient | None) -> int:
    """Exit code 0; 3 where something could not be read. Raises ApiError."""
    if client is None:
        show(args, {"version": VERSION, "client": __version__}, lambda: f"Client: {__version__}")
        return YES
    if args.output in ("table", "wide"):
        say(f"Client: {__version__}")  # first: it is true whatever the cluster says
    reader = Reader(client)
    operator, sidecars = await asyncio.gather(_operator(reader, args.operator_namespace), _sidecars(reader))
    document = {
        "version": VERSION,
        "client": __version__,
        "operator": [{"part": each.part, **each.as_json()} for each in operator],
        "sidecars": [each.as_json() for each in sidecars],
        "unread": reader.unread,
    }
    show(args, document, lambda: _text(operator, sidecars, args.operator_namespace))
    if args.output in ("table", "wide"):
        for problem in reader.unread:
            warn(f"incomplete: {problem}")
    return UNKNOWN if reader.unread else YES


async def _operator(reader: Reader, namespace: str) -> list[Row]:
    nothing: list[Raw] = []
    reading = reader.many(PODS, namespace, labelSelector=PARTS)
    found = await reader.permitted(reading, nothing, "the operator's parts are left out", matters=True)
    images: list[tuple[str, str, bool]] = []
    for raw in found:
        part = str((raw["metadata"].get("labels") or {}).get(COMPONENT_LABEL) or "")
        pod = parse_pod(raw)
        if part and not pod.terminal:
            images += [(part, each["image"], pod.ready) for each in raw["spec"]["containers"] if each["name"] == part]
    return _rows(images)


async def _sidecars(reader: Reader) -> list[Row]:
    nothing: list[Raw] = []
    found = await reader.permitted(reader.many(PODS), nothing, "sidecars are left out", matters=True)
    pods: list[Pod] = [parse_pod(each) for each in found]
    return _rows([("sidecar", pod.proxy_image, pod.ready) for pod in pods if pod.meshed and not pod.terminal])


def _rows(images: Sequence[tuple[str, str, bool]]) -> list[Row]:
    pods = Counter((part, image) for part, image, _ready in images)
    ready = Counter((part, image) for part, image, is_ready in images if is_ready)
    return [Row(part, image, count, ready[part, image]) for (part, image), count in sorted(pods.items())]


def _text(operator: Sequence[Row], sidecars: Sequence[Row], namespace: str) -> str:
    lines: list[str] = []
    if operator or sidecars:
        cells = [
            (each.part, each.version, str(each.pods), str(each.ready), each.image) for each in (*operator, *sidecars)
        ]
        lines.append(table(_COLUMNS, cells))
    if not operator:
        lines.append(f"No part of the operator runs in the namespace {namespace} (--operator-namespace).")
    if not sidecars:
        lines.append("No pod has a sidecar.")
    return "\n".join(lines)
