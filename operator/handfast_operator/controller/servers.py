"""Which certificate the webhook and the directory present: asked by a handshake while a root is replaced.

They load what kubelet projects, some time after it was written, and report to nobody. The one rule: who presents the
leaf that stands in the Secret has loaded the bundle beside it; anything else, or no answer, is no evidence.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from handfast_operator.authority.authority import NoAuthority
from handfast_operator.authority.gates import Witness
from handfast_operator.authority.leaf import LeafRequest, issue
from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.store import Store
from handfast_operator.controller.rotation import Standing
from handfast_operator.controller.serving import ServingCertificates
from handfast_operator.settings import Settings
from handfast_sidecar.errors import BadCertificate
from handfast_sidecar.identity.clock import Clock, utc_now
from handfast_sidecar.identity.contexts import stream_client_context
from handfast_sidecar.identity.leaf import serial_of
from handfast_sidecar.wellknown import (
    ALPN_EVIDENCE,
    DIRECTORY_ACCOUNT,
    DIRECTORY_PORT,
    WEBHOOK_ACCOUNT,
    WEBHOOK_PORT,
)

LOOK_S: Final = 2.0
"""Seconds between two handshakes with a server that is waited for."""
HANDSHAKE_S: Final = 5.0
LEAF_TTL: Final = timedelta(hours=1)
_PORTS: Final = {WEBHOOK_ACCOUNT: WEBHOOK_PORT, DIRECTORY_ACCOUNT: DIRECTORY_PORT}
_ROLES: Final = {WEBHOOK_ACCOUNT: "webhook", DIRECTORY_ACCOUNT: "directory"}


@dataclass(frozen=True, slots=True)
class _Presented:
    serial: str
    issuer: str
    """Key identifier."""
    at: datetime


class Servers:
    """The operator's own servers as witnesses."""

    def __init__(
        self,
        pods: Store[Pod],
        settings: Settings,
        serving: ServingCertificates,
        standing: Callable[[], Standing],
        *,
        clock: Clock = utc_now,
    ) -> None:
        self._pods, self._settings, self._serving, self._standing = pods, settings, serving, standing
        self._clock = clock
        self._presented: dict[str, _Presented] = {}
        """By UID."""
        self._listeners: list[Callable[[], object]] = []
        self._wake = asyncio.Event()

    def subscribe(self, listener: Callable[[], object]) -> None:
        """Hear that one presents another leaf."""
        self._listeners.append(listener)

    def look(self) -> None:
        """See whether somebody is to be asked."""
        self._wake.set()

    def witnesses(self) -> Sequence[Witness]:
        """All of them; whoever was not asked yet was not heard."""
        return [self._witness(pod) for pod in self._servers()]

    async def run(self) -> None:
        """Ask whoever is waited for, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            # Nobody tells when kubelet has brought a Secret, nor of one that is written anew meanwhile.
            while self._standing().plan.authority is not None:
                late = self._late()
                await asyncio.gather(*(self._ask(pod) for pod in late))
                if late:
                    for listener in self._listeners:
                        listener()
                await asyncio.sleep(LOOK_S)
            self._presented.clear()

    def _servers(self) -> list[Pod]:
        return [
            pod
            for pod in self._pods
            if pod.namespace == self._settings.namespace and pod.service_account in _PORTS and not pod.terminal
        ]

    def _late(self) -> list[Pod]:
        return [pod for pod in self._servers() if pod.ips and pod.ready and not self._is_there(pod)]

    def _is_there(self, pod: Pod) -> bool:
        """Whether it has loaded what its Secret holds, and its Secret what it should."""
        given, presented = self._serving.given.get(_ROLES[pod.service_account]), self._presented.get(pod.uid)
        fingerprint = self._standing().authorities.fingerprint
        return (
            given is not None
            and presented is not None
            and presented.serial == given.serial
            and self._serving.settled == given.bundle == fingerprint
        )

    def _witness(self, pod: Pod) -> Witness:
        name, presented = f"{pod.namespace}/{pod.name}", self._presented.get(pod.uid)
        if presented is None:
            return Witness(name, running=pod.ready, deleting=pod.deleting)
        there = self._is_there(pod)
        at = self._clock() if there else presented.at
        bundle = self._standing().authorities.fingerprint if there else ""
        return Witness(name, at, bundle, (presented.issuer,), running=pod.ready, deleting=pod.deleting)

    async def _ask(self, pod: Pod) -> None:
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                leaf = await _leaf_of(pod.ips[0], _PORTS[pod.service_account], self._context(pod))
            issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        except (OSError, TimeoutError, NoAuthority, BadCertificate, ValueError, x509.ExtensionNotFound):
            return
        self._presented[pod.uid] = _Presented(serial_of(leaf), (issuer or b"").hex(), self._clock())

    def _context(self, pod: Pod) -> ssl.SSLContext:
        if pod.service_account == DIRECTORY_ACCOUNT:
            authorities = self._standing().authorities
            request = LeafRequest(self._settings.controller_id, self._settings.pod_name, "", LEAF_TTL)
            own = issue(authorities.active, request, self._clock())
            return stream_client_context(own.chain_pem, own.key_pem, authorities.bundle, ALPN_EVIDENCE)
        # Nothing is said to it: that it has the key of the leaf which we issued is all that we want to know.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


async def _leaf_of(address: str, port: int, context: ssl.SSLContext) -> x509.Certificate:
    """What it presents. Raises OSError, and ValueError for what is no certificate."""
    _reader, writer = await asyncio.open_connection(address, port, ssl=context, server_hostname="")
    try:
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(der or b"")
    finally:
        writer.transport.abort()
