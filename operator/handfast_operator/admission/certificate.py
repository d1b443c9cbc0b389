"""The webhook's serving certificate, exchanged in the live context: no listener is rebuilt, no connection is lost."""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Final

from handfast_operator import metrics
from handfast_sidecar.identity.material import data_directory
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.wellknown import FILE_CERTIFICATE, FILE_KEY

log = logging.getLogger(__name__)

POLL_S: Final = 1.0


class ServingCertificate:
    """Follows the files of a Secret; a pair that cannot be loaded leaves the working one in place."""

    def __init__(self, directory: Path, registry: Registry, *, poll_s: float = POLL_S) -> None:
        """Raises OSError or ssl.SSLError when there is no first certificate."""
        self._directory = directory
        self._poll_s = poll_s
        self._failures = metrics.WEBHOOK_CERTIFICATE.of(registry)
        self._refused = metrics.WEBHOOK_CERTIFICATE_REFUSED.of(registry)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._seen = self._version()
        self._load()

    async def run(self) -> None:
        """Follow the files until cancelled."""
        while True:
            await asyncio.sleep(self._poll_s)
            self.look()

    def look(self) -> bool:
        """Load what has changed; whether a new certificate is served from now on."""
        version = self._version()
        if version == self._seen:
            return False
        # Also when it is broken: it is reported once, and tried again when the files change again.
        self._seen = version
        try:
            self._load()
        except (OSError, ssl.SSLError) as error:
            self._failures.inc()
            self._refused.set(1)
            log.warning(
                "the new serving certificate cannot be loaded, the old one stays",
                extra={"directory": str(self._directory), "error": str(error)},
            )
            return False
        self._refused.set(0)
        log.info("serving certificate reloaded")
        return True

    def _load(self) -> None:
        where = data_directory(self._directory)
        # Tried on a context of its own first: a pair that does not fit must not half replace the one in use.
        # An empty password: with none, an encrypted key would have OpenSSL ask for it on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(where / FILE_CERTIFICATE, where / FILE_KEY, "")
        self.context.load_cert_chain(where / FILE_CERTIFICATE, where / FILE_KEY, "")

    def _version(self) -> str:
        """Changes whenever kubelet projects the Secret anew."""
        where = data_directory(self._directory)
        try:
            stats = [(where / name).stat() for name in (FILE_CERTIFICATE, FILE_KEY)]
        except OSError:
            return str(where)
        return f"{where} {[(stat.st_mtime_ns, stat.st_ino) for stat in stats]}"
