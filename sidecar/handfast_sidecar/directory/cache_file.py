"""The last answers in a file of the pod's memory, so that a restarted proxy container knows what it knew.

It is a convenience and never a reason to fail: a file that is missing, damaged or of another version is ignored with a
log line, and one that cannot be written costs nothing but the knowledge.
"""

import contextlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from handfast_sidecar.directory.codec import decode_from_directory, encode
from handfast_sidecar.directory.messages import AddressAnswer, AddressUpdate, Place
from handfast_sidecar.errors import BadMessage

HEADER: Final = b"handfast-directory-cache 1 "
"""First line, followed by the pod's UID: a volume of another pod, or a later form, must not be believed."""
FILE_NAME: Final = "directory.jsonl"
MAX_BYTES: Final = 8 << 20
"""The volume is memory of the pod: what does not fit is left out, the least recently used first."""

log = logging.getLogger(__name__)


class CacheFile:
    """One line per answer, in the directory protocol's own words."""

    def __init__(self, folder: Path, pod_uid: str) -> None:
        self._path = folder / FILE_NAME
        self._header = HEADER + pod_uid.encode() + b"\n"
        self.place = Place()
        """Where the pod runs; read and written with the answers."""

    def read(self) -> tuple[AddressAnswer, ...]:
        """What was kept; nothing when there is no file that this version wrote for this pod."""
        try:
            if self._path.stat().st_size > 2 * MAX_BYTES:
                return self._ignored("it is larger than this version writes")
            lines = self._path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return ()
        except OSError as error:
            return self._ignored(str(error))
        if not lines or lines[0] != self._header:
            return self._ignored("its first line is not that of this pod and version")
        try:
            updates = [decode_from_directory(line) for line in lines[1:]]
        except BadMessage as error:
            return self._ignored(str(error))
        self.place = next((each for each in updates if isinstance(each, Place)), self.place)
        return tuple(each.answer for each in updates if isinstance(each, AddressUpdate))

    def write(self, answers: Iterable[AddressAnswer]) -> bool:
        """Replace the file in one step: a reader sees the old one or the new one. False when it could not be."""
        return self.write_lines(self.lines(answers))

    def lines(self, answers: Iterable[AddressAnswer]) -> bytes:
        """The file's content; `answers` come with the least recently used first."""
        lines, size = [], 0
        for answer in reversed(tuple(answers)):
            line = encode(AddressUpdate(answer))
            size += len(line)
            if size > MAX_BYTES:
                break
            lines.append(line)
        return self._header + encode(self.place) + b"".join(reversed(lines))

    def write_lines(self, content: bytes) -> bool:
        """Write content made by `lines`; apart from it, so that a thread can do the waiting."""
        beside = self._path.with_name(f".{FILE_NAME}.{os.getpid()}")
        try:
            beside.write_bytes(content)
            beside.replace(self._path)
        except OSError as error:
            log.warning("directory cache not written", extra={"path": str(self._path), "error": str(error)})
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            return False
        return True

    def _ignored(self, why: str) -> tuple[AddressAnswer, ...]:
        log.warning("directory cache ignored", extra={"path": str(self._path), "error": why})
        return ()
