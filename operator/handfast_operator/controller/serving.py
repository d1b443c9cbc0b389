"""The operator's own certificates: of the webhook and of the directory, and the caBundle that names who signed them.

The Deployments mount these Secrets, and kubelet starts their pods when they are there. The one rule: a certificate that
still works is not replaced before half of its life, and never by one that callers cannot verify yet.
"""

import asyncio
import base64
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import aiohttp
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from handfast_operator.authority.authority import AuthoritySet
from handfast_operator.authority.expiring import Life
from handfast_operator.authority.leaf import LeafRequest, issue
from handfast_operator.authority.schedule import BACKDATE
from handfast_operator.cluster.client import ApiError
from handfast_operator.cluster.kinds import MUTATING_WEBHOOKS, SECRETS, VALIDATING_WEBHOOKS, Kind
from handfast_operator.cluster.tls_secret import tls_secret
from handfast_operator.settings import Settings
from handfast_sidecar.errors import HandfastError
from handfast_sidecar.identity.clock import Clock, utc_now
from handfast_sidecar.identity.leaf import serial_of
from handfast_sidecar.wellknown import (
    DIRECTORY_ACCOUNT,
    FILE_BUNDLE,
    FILE_CERTIFICATE,
    FILE_KEY,
    LABEL_SERVING,
    WEBHOOK_ACCOUNT,
    WEBHOOK_CONFIGURATION,
)

log = logging.getLogger(__name__)

Json = dict[str, Any]
TTL: Final = timedelta(days=7)
LOOK_S: Final = 10.0
"""Seconds between looks: a caBundle that Helm has just emptied blocks every pod that opted in."""


class Api(Protocol):
    """What is needed of the API server; `cluster.client.ApiClient` has it."""

    async def get(self, path: str) -> Json: ...
    async def create(self, path: str, body: Json) -> Json: ...
    async def replace(self, path: str, body: Json) -> Json: ...
    async def patch(self, path: str, body: Any) -> Json: ...


@dataclass(frozen=True, slots=True)
class Server:
    """A role that serves under a certificate of its own."""

    role: str
    request: LeafRequest

    @property
    def secret(self) -> str:
        """Name of its Secret."""
        return f"handfast-{self.role}-tls"

    @property
    def names(self) -> set[str]:
        """What callers know it by."""
        spiffe_id = self.request.spiffe_id
        return {*self.request.dns_names, *([str(spiffe_id)] if spiffe_id is not None else [])}


@dataclass(frozen=True, slots=True)
class Given:
    """What a server presents and trusts, as soon as it has loaded its Secret."""

    serial: str
    """Of its leaf: whoever presents it has read the bundle beside it, too."""
    issuer: str
    """Key identifier of who signed it."""
    bundle: str
    """Fingerprint."""


def servers(settings: Settings) -> tuple[Server, ...]:
    """The webhook is known by its Service's names, the directory by its SPIFFE ID."""
    service = f"{WEBHOOK_ACCOUNT}.{settings.namespace}.svc"
    names = (service, f"{service}.cluster.local")
    return (
        Server("webhook", LeafRequest(None, WEBHOOK_ACCOUNT, "", TTL, names)),
        Server("directory", LeafRequest(settings.directory_id, DIRECTORY_ACCOUNT, "", TTL)),
    )


def is_good(secret: Json, server: Server, authorities: AuthoritySet, now: datetime) -> bool:
    """Whether a serving Secret has the bundle of today, and key and leaf of it before half of the leaf's life."""
    data = secret.get("data") or {}
    try:
        files = {name: base64.b64decode(data[name]) for name in (FILE_CERTIFICATE, FILE_KEY, FILE_BUNDLE)}
        leaf = x509.load_pem_x509_certificate(files[FILE_CERTIFICATE])
        key = load_pem_private_key(files[FILE_KEY], password=None)
        signed_by = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (KeyError, ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    return (
        files[FILE_BUNDLE] == authorities.bundle_pem
        and signed_by == authorities.active.key_identifier.key_identifier
        and key.public_key() == leaf.public_key()
        and {str(each.value) for each in names} == server.names
        and now < start + (end - start) / 2
        and (secret["metadata"].get("labels") or {}).get(LABEL_SERVING) == server.role
    )


def _given(secret: Json, authorities: AuthoritySet) -> Given:
    leaf = x509.load_pem_x509_certificate(base64.b64decode(secret["data"][FILE_CERTIFICATE]))
    return Given(serial_of(leaf), authorities.active.key_id, authorities.fingerprint)


class ServingCertificates:
    """Keeps the Secrets and the caBundle right."""

    def __init__(
        self, api: Api, settings: Settings, authorities: Callable[[], AuthoritySet], clock: Clock = utc_now
    ) -> None:
        self._api = api
        self._settings = settings
        self._authorities = authorities
        self._clock = clock
        self.lives: dict[str, Life] = {}
        """Of the certificates that stand in the Secrets, by role."""
        self.changed: Callable[[], object] = lambda: None
        """Called when one of them lives for another time."""
        self.failure = ""
        """Why the last look failed; empty: it did not."""
        self._wake = asyncio.Event()
        self.given: dict[str, Given] = {}
        """What the Secret of each role holds, as last seen or written."""
        self.settled = ""
        """Fingerprint of the bundle that all of them hold, and the API server too; empty: not so yet."""

    def authorities_changed(self, _authorities: AuthoritySet) -> None:
        """Look at once."""
        self._wake.set()

    async def ensure(self) -> None:
        """Look once, and write what is missing. Raises ApiError."""
        bundle = self._authorities().fingerprint
        for server in servers(self._settings):
            await self._ensure_secret(server)
        for kind in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS):
            await self._ensure_bundle(kind)
        self.settled = bundle if bundle == self._authorities().fingerprint else ""

    async def run(self) -> None:
        """Look every few seconds, and when the authorities are others, until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self.ensure()
                self.failure = ""
            except (ApiError, HandfastError, aiohttp.ClientError, TimeoutError, OSError) as error:
                self.failure = str(error) or type(error).__name__
                log.warning(
                    "the operator's own certificates could not be kept, trying again", extra={"error": str(error)}
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()

    async def _ensure_secret(self, server: Server) -> None:
        path = SECRETS.item(self._settings.namespace, server.secret)
        try:
            known: Json | None = await self._api.get(path)
        except ApiError as error:
            if error.status != 404:
                raise
            known = None
        authorities, now = self._authorities(), self._clock()
        self._remember(server.role, known)
        if known is not None and is_good(known, server, authorities, now):
            self.given[server.role] = _given(known, authorities)
            return
        body = self._secret(server, authorities, now, known)
        if known is None:
            await self._api.create(SECRETS.within(self._settings.namespace), body)
        else:
            await self._api.replace(path, body)
        self._remember(server.role, body)
        self.given[server.role] = _given(body, authorities)
        log.info("serving certificate issued", extra={"role": server.role, "secret": server.secret})

    def _remember(self, role: str, secret: Json | None) -> None:
        """How long what is served lives; what cannot be read is replaced in the same look."""
        try:
            leaf = x509.load_pem_x509_certificate(
                base64.b64decode(((secret or {}).get("data") or {})[FILE_CERTIFICATE])
            )
        except (KeyError, ValueError, TypeError):
            return
        life = Life(leaf.not_valid_before_utc + BACKDATE, leaf.not_valid_after_utc)
        if self.lives.get(role) != life:
            self.lives[role] = life
            self.changed()

    def _secret(self, server: Server, authorities: AuthoritySet, now: datetime, known: Json | None) -> Json:
        leaf = issue(authorities.active, server.request, now)
        metadata: Json = {
            "name": server.secret,
            "namespace": self._settings.namespace,
            "labels": {LABEL_SERVING: server.role},
        }
        if known is not None:
            metadata["resourceVersion"] = known["metadata"]["resourceVersion"]
        files = {FILE_CERTIFICATE: leaf.chain_pem, FILE_KEY: leaf.key_pem, FILE_BUNDLE: authorities.bundle_pem}
        return tls_secret(metadata, files)

    async def _ensure_bundle(self, kind: Kind) -> None:
        """Write the bundle into every webhook of a configuration; an uninstalled one is no error."""
        path = kind.item("", WEBHOOK_CONFIGURATION)
        try:
            known = await self._api.get(path)
        except ApiError as error:
            if error.status != 404:
                raise
            return
        bundle = base64.b64encode(self._authorities().bundle_pem).decode()
        webhooks = known.get("webhooks") or []
        if all(each["clientConfig"].get("caBundle") == bundle for each in webhooks):
            return
        changed = [{**each, "clientConfig": {**each["clientConfig"], "caBundle": bundle}} for each in webhooks]
        # The version stands in the patch, so that a change of Helm's meanwhile is not undone.
        body = {"metadata": {"resourceVersion": known["metadata"]["resourceVersion"]}, "webhooks": changed}
        await self._api.patch(path, body)
        log.info("caBundle written", extra={"kind": kind.plural})
