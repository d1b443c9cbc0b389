"""A bundle: files in memory, each of them redacted, and what could not be had with the reason; then one tar.gz."""

import io
import json
import tarfile
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from handfast_operator.cli.redaction import redacted

INDEX: Final = "index.json"
MISSING: Final = "missing.txt"
README: Final = "README.txt"
MAX_FILE: Final = 8 << 20
"""Bytes of one file: of a longer one the end is kept, which is what happened last."""
_ABOUT: Final = """\
Made by `handfast diagnose` at {at}.

Objects of Handfast, their conditions, Events, logs and metrics of the operator and of the sidecars that were asked
for, and what other verbs of `handfast` say (commands/). There are names of namespaces, pods and images in it,
addresses, and who talks to whom. There is no key and no token in it: Secrets are metadata alone, of applications'
containers neither commands nor environment are told, and what looks like a key or a token is replaced wherever it
stands.

{missing} ({count}): what could not be read, and why.
{index}: the same, and all files, as data.
"""


@dataclass(slots=True)
class Bundle:
    """Files by name."""

    at: datetime
    files: dict[str, bytes] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """What, and why not."""

    def text(self, name: str, text: str) -> None:
        """A file of text."""
        content = redacted(text).encode()
        self.files[name] = content if len(content) <= MAX_FILE else content[-MAX_FILE:]

    def data(self, name: str, document: Any) -> None:
        """A file of JSON."""
        self.text(name, json.dumps(document, indent=1, ensure_ascii=False) + "\n")

    def lack(self, what: str, why: str) -> None:
        """Something that could not be had."""
        self.missing[what] = redacted(why)

    def packed(self, folder: str, index: dict[str, Any]) -> bytes:
        """As a tar.gz with this folder at its top."""
        lines = [f"{what}: {why}" for what, why in sorted(self.missing.items())]
        self.text(MISSING, "".join(f"{line}\n" for line in lines) or "nothing\n")
        at = self.at.isoformat(timespec="seconds")
        self.text(README, _ABOUT.format(at=at, missing=MISSING, index=INDEX, count=len(lines)))
        sizes = {name: len(content) for name, content in sorted(self.files.items())}
        self.data(INDEX, {**index, "at": at, "files": sizes, "missing": dict(sorted(self.missing.items()))})
        written = io.BytesIO()
        with tarfile.open(fileobj=written, mode="w:gz") as tar:
            for name, content in sorted(self.files.items()):
                entry = tarfile.TarInfo(f"{folder}/{name}")
                entry.size, entry.mtime, entry.mode = len(content), int(self.at.timestamp()), 0o644
                tar.addfile(entry, io.BytesIO(content))
        return written.getvalue()
