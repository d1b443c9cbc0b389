"""Whether peers take the leaves of an external issuer, found out by trying: real handshakes, in memory.

Its one rule: the last word is not ours. Name constraints, purposes and whatever else an authority may say about those
below it are judged by the libraries that will judge them: OpenSSL as tunnels use it, and Python's own as the
directory's streams and the webhook do; the two may be of different versions.
"""

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

from OpenSSL import SSL, crypto

from handfast_operator.authority.authority import Authority, AuthoritySet
from handfast_operator.authority.external import ExternalIssuer
from handfast_operator.authority.issuer_certificate import IssuerRefused
from handfast_operator.authority.leaf import IssuedLeaf, LeafRequest, issue
from handfast_operator.authority.state import AuthorityState
from handfast_sidecar.config.document import DirectoryAddress, SidecarConfig
from handfast_sidecar.errors import BadCertificate
from handfast_sidecar.identity.clock import utc_now
from handfast_sidecar.identity.contexts import (
    build_contexts,
    directory_server_context,
    in_memory,
    stream_client_context,
    verify_failure,
)
from handfast_sidecar.identity.material import parse_material
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.identity.verification import refusal
from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.wellknown import ALPN_DIRECTORY, DIRECTORY_ACCOUNT, WEBHOOK_ACCOUNT

TTL: Final = timedelta(minutes=5)
POD: Final = "handfast.trial"
"""A pod's name may have dots, and OpenSSL reads a common name that has one as a DNS name."""
ROUNDS: Final = 10
"""Turns of a handshake between two ends in memory; TLS 1.3 needs three."""
_REASONS: Final = {
    "wrong_purpose": "extended_key_usage",
    "critical_extension": "critical_extension",
    "name_constraints": "name_constraints",
}
"""Ours, by the words of peers (`identity.verification`); what else they may find was looked for before."""


def try_issuer(issuer: ExternalIssuer, where: str, trust_domain: str, namespace: str) -> None:
    """Raise IssuerRefused unless two sidecars, directory and webhook can shake hands with leaves of this issuer.

    `namespace` is the operator's. Handshakes read the machine's own clock, and so does this.
    """
    trial = _Trial(issuer, where, trust_domain, namespace)
    trial.tunnel()
    trial.directory()
    trial.webhook()


class _Trial:
    def __init__(self, issuer: ExternalIssuer, where: str, trust_domain: str, namespace: str) -> None:
        self._authority = Authority(
            "trial",
            trust_domain,
            AuthorityState.ACTIVE,
            issuer.certificate,
            issuer.key,
            chain=issuer.chain,
            root=issuer.root,
        )
        self._trusted = AuthoritySet(trust_domain, (self._authority,))
        self._where = where
        self._directory_id = SpiffeId.of_service_account(trust_domain, namespace, DIRECTORY_ACCOUNT)
        self._service = f"{WEBHOOK_ACCOUNT}.{namespace}.svc"
        self._pod_id = SpiffeId.of_service_account(trust_domain, "trial", "trial")
        self._pod = self._leaf(LeafRequest(self._pod_id, POD, "00000000-0000-0000-0000-000000000000", TTL))

    def tunnel(self) -> None:
        """Between two pods; both ends present the same leaf."""
        directory = DirectoryAddress("127.0.0.1", 1, self._directory_id)
        config = SidecarConfig(1, self._authority.trust_domain, EffectivePolicy(), directory, ())
        pod = self._pod
        ends: tuple[SSL.Connection, ...] = ()
        with self._judged(f"{self._pod_id} of a pod named {POD!r}", lambda: ends):
            material = parse_material(pod.chain_pem, pod.key_pem, self._trusted.bundle_pem, config.dump().encode())
            contexts = build_contexts(material)
            client, server = ends = SSL.Connection(contexts.client, None), SSL.Connection(contexts.server, None)
            client.set_connect_state()
            server.set_accept_state()
            turns = [_Turn(each.do_handshake, SSL.WantReadError) for each in ends]
            _shake(turns, lambda: _carry(client, server))

    def directory(self) -> None:
        """Between a pod and the directory."""
        leaf = self._leaf(LeafRequest(self._directory_id, DIRECTORY_ACCOUNT, "", TTL))
        with self._judged(f"{self._directory_id} of the directory"), ExitStack() as stack:
            pod = self._pod
            client = stream_client_context(pod.chain_pem, pod.key_pem, self._trusted.bundle, ALPN_DIRECTORY)
            files = (leaf.chain_pem, leaf.key_pem, self._trusted.bundle_pem)
            server = directory_server_context(*(Path(stack.enter_context(in_memory(each))) for each in files))
            _stream(client, server, None)

    def webhook(self) -> None:
        """Between the API server and the webhook, known by its Service's name."""
        names = (self._service, f"{self._service}.cluster.local")
        leaf = self._leaf(LeafRequest(None, WEBHOOK_ACCOUNT, "", TTL, names))
        with self._judged(f"{names[0]} and {names[1]} of the webhook"), ExitStack() as stack:
            client, server = (ssl.SSLContext(side) for side in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER))
            client.load_verify_locations(cadata=self._trusted.bundle_pem.decode())
            client.verify_flags |= ssl.VERIFY_X509_STRICT
            files = (leaf.chain_pem, leaf.key_pem)
            server.load_cert_chain(*(stack.enter_context(in_memory(each)) for each in files))
            _stream(client, server, self._service)

    @contextmanager
    def _judged(self, what: str, ends: Callable[[], tuple[SSL.Connection, ...]] = tuple) -> Iterator[None]:
        """What a library refuses, in our words; `what` was presented to it."""
        try:
            yield
        except BadCertificate as error:
            cause = error.__cause__
            code = cause.errors[0] if isinstance(cause, crypto.X509StoreContextError) and cause.errors else 0
            raise self._refused(refusal(code).reason, what, str(error)) from None
        except SSL.Error as error:
            found = next((found for each in ends() if (found := verify_failure(each))), None)
            raise self._refused(found.reason if found else "", what, str(found or error)) from None
        except ssl.SSLCertVerificationError as error:
            raise self._refused(refusal(error.verify_code).reason, what, error.verify_message) from None
        except ssl.SSLError as error:
            raise self._refused("", what, error.reason or "") from None

    def _leaf(self, request: LeafRequest) -> IssuedLeaf:
        return issue(self._authority, request, utc_now())

    def _refused(self, word: str, what: str, said: str) -> IssuerRefused:
        reason = _REASONS.get(word, "unusable")
        opening = f"the Secret {self._where} cannot be the issuer: peers refuse its leaves"
        if reason == "name_constraints":
            return IssuerRefused(
                reason,
                f"{opening}, as name constraints of its chain do not permit {what} ({said}): have it issued without"
                f" them, or with URI:{self._authority.trust_domain} alone permitted (of DNS names there would be the"
                " webhook's, and that of each pod whose name has a dot)",
            )
        return IssuerRefused(reason, f"{opening} ({said}), tried with {what}: have it issued again")


class _Turn:
    """One end's part of a handshake."""

    def __init__(self, step: Callable[[], None], wants_more: type[Exception]) -> None:
        self._step = step
        self._wants_more = wants_more
        self.done = False

    def take(self) -> None:
        with suppress(self._wants_more):
            self._step()
            self.done = True


def _stream(client: ssl.SSLContext, server: ssl.SSLContext, hostname: str | None) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=hostname),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    _shake([_Turn(each.do_handshake, ssl.SSLWantReadError) for each in ends], lambda: None)


def _shake(ends: Sequence[_Turn], carry: Callable[[], None]) -> None:
    """Until both are done; the errors of either end come through."""
    for _ in range(ROUNDS):
        for each in ends:
            each.take()
            carry()
        if all(each.done for each in ends):
            return


def _carry(*ends: SSL.Connection) -> None:
    for here, there in (ends, ends[::-1]):
        with suppress(SSL.WantReadError):
            there.bio_write(here.bio_read(1 << 16))
