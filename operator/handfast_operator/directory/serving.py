"""The certificate this server shows, exchanged under its feet when the controller renews it.

A context is built anew for each version and given to later handshakes only; a version that cannot be used is reported
and changes nothing.
"""

import asyncio
import logging
import ssl
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509

from handfast_sidecar.errors import BadCertificate
from handfast_sidecar.identity.bundle import anchor, parse_bundle
from handfast_sidecar.identity.contexts import directory_server_context
from handfast_sidecar.identity.material import data_directory
from handfast_sidecar.observe import table
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.wellknown import FILE_BUNDLE, FILE_CERTIFICATE, FILE_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_S: Final = 2.0

log = logging.getLogger(__name__)


class ServingCertificate:
    """The current context of a directory of files that kubelet projects."""

    def __init__(self, directory: Path, registry: Registry) -> None:
        self._directory = directory
        self._context: ssl.SSLContext | None = None
        self._version: object = None
        self._complaint = ""
        self.anchors: frozenset[str] = frozenset()
        """The roots that sidecars are verified with: see `identity.bundle.anchor`."""
        self.changed: Callable[[], None] = lambda: None
        """Called when another certificate, or another bundle, is in use."""
        self._expires = table.LEAF_ENDS.of(registry)
        self._failures = table.IDENTITY_FAILURES.of(registry)
        table.IDENTITY_REFUSED.of(registry).set_function(lambda: bool(self._complaint))

    @property
    def context(self) -> ssl.SSLContext | None:
        """For the next handshake; None while there is nothing to serve with."""
        return self._context

    async def run(self) -> None:
        """Follow the files until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(POLL_S)

    def look(self) -> bool:
        """Load what changed since the last look; whether a new context is in use."""
        where = data_directory(self._directory)
        files = [where / name for name in (FILE_CERTIFICATE, FILE_KEY, FILE_BUNDLE)]
        try:
            version = [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files]
            if version == self._version:
                return False
            context = directory_server_context(*files)
            expires = _expires(files[0])
            anchors = frozenset(map(anchor, parse_bundle(files[2].read_bytes())))
        except (BadCertificate, OSError, ValueError) as error:
            self._complain(error)
            return False
        self._context, self._version, self._complaint = context, version, ""
        self.anchors = anchors
        self._expires.set(expires.timestamp())
        log.info("serving certificate loaded", extra={"not_after": expires.isoformat()})
        self.changed()
        return True

    def _complain(self, error: Exception) -> None:
        if str(error) == self._complaint:
            return
        self._complaint = str(error)
        self._failures.labels(error.reason if isinstance(error, BadCertificate) else "unreadable_file").inc()
        log.warning(
            "serving certificate not loaded, what was in use stays: it is tried again",
            extra={"path": str(self._directory), "error": str(error)},
        )


def _expires(certificate_file: Path) -> datetime:
    return x509.load_pem_x509_certificates(certificate_file.read_bytes())[0].not_valid_after_utc
