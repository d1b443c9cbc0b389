"""Where a run took place, and with which versions: without it no figure means anything."""

import os
import platform
import re
import ssl
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from OpenSSL import SSL

from handfast_bench.gorelay import compiler

_VERSIONS: Final[dict[str, Sequence[str]]] = {
    "haproxy": ["haproxy", "-v"],
    "nginx": ["nginx", "-v"],
    "stunnel": ["stunnel4", "-version"],
    "wrk": ["wrk", "-v"],
    "curl": ["curl", "--version"],
}
_NUMBER: Final = re.compile(r"\d+\.\d+[\w.+~-]*")


def describe() -> dict[str, Any]:
    """For the report's head."""
    go = compiler()
    versions = {name: _version(command) for name, command in _VERSIONS.items()}
    return {
        "cpu": _field(Path("/proc/cpuinfo"), "model name"),
        "cores": os.cpu_count(),
        "memory_mb": int(_field(Path("/proc/meminfo"), "MemTotal").split()[0]) // 1024,
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions | ({"go": _version([go, "version"])} if go else {}),
        "handfast": {
            "commit": _commit(),
            "python": platform.python_version(),
            "openssl": SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode(),
            **{name: version(name) for name in ("cryptography", "pyOpenSSL")},
        },
        "python_ssl": ssl.OPENSSL_VERSION,
    }


def _version(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    found = _NUMBER.search(done.stdout + done.stderr)
    return found[0] if found else ""


def _field(path: Path, name: str) -> str:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()
