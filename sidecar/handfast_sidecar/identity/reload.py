"""The identity a sidecar runs with, and its exchange under running connections.

The one rule: what was read and checked as a whole replaces what was there as a whole, and anything else replaces
nothing. A broken, missing or expired certificate on disk never costs the working one.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from handfast_sidecar.errors import BadCertificate, HandfastError
from handfast_sidecar.identity.clock import Clock, utc_now
from handfast_sidecar.identity.contexts import TlsContexts, build_contexts
from handfast_sidecar.identity.leaf import Leaf
from handfast_sidecar.identity.material import DATA_LINK, Material, read_material
from handfast_sidecar.observe import table
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.wellknown import FILE_BUNDLE, FILE_CERTIFICATE, FILE_CONFIG, FILE_KEY

log = logging.getLogger(__name__)

POLL_S: Final = 1.0
"""Seconds between looks at the link. kubelet needs 30 to 100 s to project a change, and a look is one system call."""
RENEW_PART: Final = 3
"""The operator begins to renew a leaf after a third of its life, which it counts from issuance."""
BACKDATE: Final = timedelta(minutes=4)
"""By this much `notBefore` is earlier than issuance."""

Listener = Callable[["Identity"], None]


@dataclass(frozen=True, slots=True)
class Identity:
    """One version of who we are: what was read, and the contexts made of it."""

    material: Material
    contexts: TlsContexts

    @property
    def leaf(self) -> Leaf:
        return self.material.leaf


class IdentityKeeper:
    """Holds the current identity and follows the Secret's directory."""

    def __init__(
        self,
        directory: Path,
        registry: Registry,
        *,
        cipher_suites: str = "",
        pod_uid: str = "",
        poll_s: float = POLL_S,
        clock: Clock = utc_now,
    ) -> None:
        self._directory = directory
        self._cipher_suites = cipher_suites
        self._pod_uid = pod_uid
        self._poll_s = poll_s
        self._clock = clock
        self._current: Identity | None = None
        self._listeners: list[Listener] = []
        self._seen: object = None
        self._complained = ""
        self._refused = ""
        """What is wrong with the newest version of the Secret."""
        self._expires = table.LEAF_ENDS.of(registry)
        self._renews = table.LEAF_RENEWED.of(registry)
        self._reloads = table.IDENTITY_RELOADS.of(registry)
        self._failures = table.IDENTITY_FAILURES.of(registry)
        table.IDENTITY_REFUSED.of(registry).set_function(lambda: bool(self._refused))

    @property
    def current(self) -> Identity:
        """The identity in use; `load_first` comes before."""
        if self._current is None:
            raise RuntimeError("the identity is used before load_first")
        return self._current

    def trouble(self) -> str:
        """Why peers refuse the identity in use, and what to look at; empty: they do not."""
        material, now = self.current.material, self._clock()
        refused = f". The newest version of the Secret is refused: {self._refused}" if self._refused else ""
        if material.expired(now):
            ago = str(now - material.expires_at).partition(".")[0]
            return (
                f"the certificate expired at {material.expires_at.isoformat()}, {ago} ago: is handfast-controller"
                f" running, and is this node's clock right ({now.isoformat(timespec='seconds')})? Events of the pod say"
                f" why it was not renewed{refused}"
            )
        if now < material.valid_from:
            return (
                f"the certificate is valid from {material.valid_from.isoformat()} on, and this node's clock says"
                f" {now.isoformat(timespec='seconds')}: it is behind, or that of handfast-controller's node is ahead"
                f"{refused}"
            )
        return ""

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with every later identity; it must not block."""
        self._listeners.append(listener)

    def load_first(self) -> Identity:
        """Read the directory; raises BadCertificate or BadConfig, because without an identity there is no sidecar."""
        self._seen = _version(self._directory)
        material = read_material(self._directory)
        material.check_pod(self._pod_uid)
        self._adopt(Identity(material, build_contexts(material, self._cipher_suites)))
        trouble = self.trouble()
        if trouble:
            log.error("peers refuse the leaf", extra={"detail": trouble, **_fields(material)})
        return self.current

    async def run(self) -> None:
        """Follow the directory until cancelled."""
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                self.look()
            except Exception:
                # Whatever a file could bring about here, the identity in use must outlive it.
                log.exception("the pod's Secret could not be looked at, trying again")

    def look(self) -> bool:
        """Load what has changed since the last look; whether a new identity is in use now."""
        version = _version(self._directory)
        if version == self._seen and not self._complained:
            return False
        try:
            identity = self._read()
        except HandfastError as error:
            self._refused = str(error)
            self._complain(version, error)
            self._seen = version
            return False
        self._seen, self._complained, self._refused = version, "", ""
        if identity is None:
            return False
        self._adopt(identity)
        self._reloads.inc()
        log.info("identity reloaded", extra=_fields(identity.material))
        for listener in self._listeners:
            self._tell(listener, identity)
        return True

    def _read(self) -> Identity | None:
        """What the directory holds, or None when it holds what is in use."""
        material, current = read_material(self._directory), self.current
        material.check_pod(self._pod_uid or current.leaf.pod_uid)
        if material.same_identity(current.material):
            if material.config == current.material.config:
                return None
            return Identity(material, current.contexts)
        now = self._clock()
        if material.expired(now) and not current.material.expired(now):
            raise BadCertificate("expired", "the new leaf has expired already, and the one in use has not")
        if now < material.valid_from and not current.material.expired(now) and current.material.valid_from <= now:
            # A controller whose clock is ahead would otherwise take the whole mesh down with its next renewals.
            raise BadCertificate(
                "not_yet_valid",
                f"the new leaf is valid from {material.valid_from.isoformat()} on, and until then the one in use stays:"
                " the clock of handfast-controller's node is ahead, or this node's is behind",
            )
        return Identity(material, build_contexts(material, self._cipher_suites))

    def _adopt(self, identity: Identity) -> None:
        leaf = identity.leaf
        issued = leaf.not_before + BACKDATE
        self._current = identity
        self._expires.set(identity.material.expires_at.timestamp())
        self._renews.set((issued + (leaf.not_after - issued) / RENEW_PART).timestamp())

    def _complain(self, version: object, error: HandfastError) -> None:
        """Count and log a failure once, however often the same version is looked at."""
        complaint = f"{version} {error}"
        if complaint == self._complained:
            return
        self._complained = complaint
        reason = error.reason if isinstance(error, BadCertificate) else "bad_config"
        self._failures.labels(reason).inc()
        log.error(
            "the pod's Secret was refused, the identity in use stays",
            extra={"reason": reason, "detail": str(error), **_fields(self.current.material)},
        )

    def _tell(self, listener: Listener, identity: Identity) -> None:
        try:
            listener(identity)
        except Exception:
            # One part that cannot follow must not keep the others, nor the next reload, from following.
            log.exception("a part of the sidecar could not take over the new identity")


def _version(directory: Path) -> object:
    """What changes when the files do: where `..data` points, or, without it, the files' own marks."""
    try:
        return str((directory / DATA_LINK).readlink())
    except OSError:
        return tuple(_mark(directory / name) for name in (FILE_CERTIFICATE, FILE_KEY, FILE_BUNDLE, FILE_CONFIG))


def _mark(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def _fields(material: Material) -> dict[str, str]:
    leaf = material.leaf
    return {
        "identity": str(leaf.spiffe_id),
        "serial": leaf.serial,
        "not_after": leaf.not_after.isoformat(),
        "bundle": material.fingerprint,
    }
