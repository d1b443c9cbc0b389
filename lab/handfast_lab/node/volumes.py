"""A pod's volumes, as directories of the agent's.

The one rule is kubelet's (pkg/volume/util, AtomicWriter): what a Secret holds changes all at once, by a renamed link.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from handfast_lab.node.environment import Data, field
from handfast_lab.node.seams import Json, NodeFacts

_DATA: Final = "..data"
_MODE: Final = 0o644
_GROUP_READS: Final = 0o040
_SOURCES: Final = {"secret": ("secrets", "secretName"), "configMap": ("configmaps", "name")}
_PROJECTED: Final = {"secret": ("secrets", "name"), "configMap": ("configmaps", "name")}

Payload = dict[str, tuple[bytes, int]]
"""Contents and mode, by path."""


class NotReady(Exception):
    """Something is missing that a volume refers to; the message is the Event's."""


@dataclass(frozen=True, slots=True)
class Context:
    """What volumes are filled from."""

    pod: Json
    node: NodeFacts
    addresses: Sequence[str]
    data: Data
    token: Callable[[str], str]
    """Of the pod's service account, by audience; raises NotReady."""


def set_up(place: Path, context: Context) -> None:
    """Make or refresh every volume below `place`. Raises NotReady, and leaves what is there as it is."""
    group = (context.pod["spec"].get("securityContext") or {}).get("fsGroup")
    for volume in context.pod["spec"].get("volumes") or ():
        directory = place / volume["name"]
        try:
            contents = None if "emptyDir" in volume else payload(volume, context)
        except NotReady as lacking:
            raise NotReady(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {lacking}') from lacking
        if not directory.exists():
            directory.mkdir(parents=True)
            directory.chmod(0o777 if contents is None else 0o755)
            if group is not None and contents is None:
                os.chown(directory, -1, group)
                directory.chmod(0o2777)
        if contents is not None:
            write(directory, contents, group)


def payload(volume: Mapping[str, Any], context: Context) -> Payload:
    """The files of one volume. Raises NotReady."""
    for kind, (resource, name) in _SOURCES.items():
        if kind in volume:
            source = volume[kind]
            return _held(resource, source.get(name, ""), source, source.get("defaultMode", _MODE), context)
    if "downwardAPI" in volume:
        return _downward(volume["downwardAPI"], volume["downwardAPI"].get("defaultMode", _MODE), context)
    if "projected" not in volume:
        raise NotReady(f"the lab has no volumes of this kind: {', '.join(set(volume) - {'name'})}")
    files: Payload = {}
    mode = volume["projected"].get("defaultMode", _MODE)
    for source in volume["projected"].get("sources") or ():
        for kind, (resource, name) in _PROJECTED.items():
            if kind in source:
                files |= _held(resource, source[kind].get(name, ""), source[kind], mode, context)
        if "downwardAPI" in source:
            files |= _downward(source["downwardAPI"], mode, context)
        if "serviceAccountToken" in source:
            files |= _token(source["serviceAccountToken"], mode, context)
    return files


def _held(resource: str, name: str, source: Mapping[str, Any], mode: int, context: Context) -> Payload:
    held, optional = context.data(resource, name), source.get("optional", False)
    if held is None:
        if optional:
            return {}
        raise NotReady(f'{resource.removesuffix("s")} "{name}" not found')
    if not source.get("items"):
        return {key: (value, mode) for key, value in held.items()}
    absent = [each["key"] for each in source["items"] if each["key"] not in held]
    if absent and not optional:
        raise NotReady(f"references non-existent {resource.removesuffix('s')} key: {', '.join(absent)}")
    return {
        each["path"]: (held[each["key"]], each.get("mode", mode)) for each in source["items"] if each["key"] in held
    }


def _downward(source: Mapping[str, Any], mode: int, context: Context) -> Payload:
    return {
        each["path"]: (
            field(context.pod, each["fieldRef"]["fieldPath"], context.node, context.addresses).encode(),
            each.get("mode", mode),
        )
        for each in source.get("items") or ()
        if "fieldRef" in each
    }


def _token(source: Mapping[str, Any], mode: int, context: Context) -> Payload:
    return {source["path"]: (context.token(source.get("audience", "")).encode(), mode)}


def write(directory: Path, files: Payload, group: int | None = None) -> None:
    """Replace what the directory shows, in one moment; the same contents again change nothing."""
    if _read(directory / _DATA) == {path: contents for path, (contents, _) in files.items()}:
        return
    stamp = datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S.")
    fresh = Path(tempfile.mkdtemp(prefix=stamp, dir=directory))
    fresh.chmod(0o755)
    for path, (contents, mode) in files.items():
        file = fresh / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(contents)
        file.chmod(mode if group is None else mode | _GROUP_READS)
        if group is not None:
            os.chown(file, -1, group)
    current, new = directory / _DATA, directory / "..data_tmp"
    old = current.resolve() if current.is_symlink() else None
    new.symlink_to(fresh.name)
    new.replace(current)
    shown = {Path(path).parts[0] for path in files}
    for name in shown:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"{_DATA}/{name}")
    for each in directory.iterdir():
        if not each.name.startswith("..") and each.name not in shown:
            each.unlink()
    if old is not None:
        shutil.rmtree(old)


def _read(directory: Path) -> dict[str, bytes] | None:
    if not directory.exists():
        return None
    return {str(each.relative_to(directory)): each.read_bytes() for each in _files(directory)}


def _files(directory: Path) -> Iterable[Path]:
    return (each for each in directory.rglob("*") if each.is_file())
