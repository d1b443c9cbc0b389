"""TLS contexts of tunnels, foreign peers and the directory's stream: one profile, from one version of the identity.

The one rule: a context is built once and never changed; new certificates or roots make new contexts, because
`load_verify_locations` and its kind only ever add roots. TLS 1.3 alone (1.2 where a policy lets foreign clients speak
it), strict X.509, no tickets and no sessions: a resumed session would outlive the certificate it was opened with.
"""

import os
import ssl
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL, crypto

from handfast_sidecar.errors import BadCertificate, HandshakeFailed
from handfast_sidecar.identity.bundle import anchor
from handfast_sidecar.identity.leaf import read_peer, read_svid
from handfast_sidecar.identity.material import MAX_CHAIN, Material
from handfast_sidecar.identity.proof import Proof
from handfast_sidecar.identity.verification import CERT_CHAIN_TOO_LONG, refusal
from handfast_sidecar.policy.effective import TlsVersion
from handfast_sidecar.wellknown import ALPN_DIRECTORY, ALPN_EVIDENCE, ALPN_TUNNEL

_ALPN: Final = ALPN_TUNNEL.encode()
_ENCODING_DER: Final = 2
"""`_ssl.ENCODING_DER`, for Python before 3.13."""
_VERIFY_DEPTH: Final = MAX_CHAIN - 1
"""Intermediates between leaf and root; a chain of MAX_CHAIN certificates has one leaf."""
_CIPHERS_OF_1_2: Final = {
    "TLS_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
}
"""What is nearest under TLS 1.2 to each suite of 1.3: forward secret, authenticated encryption, our kind of key."""


@dataclass(frozen=True)
class TlsContexts:
    """Both roles of one identity, in tunnels and towards foreign peers; what is for these is made when one is met."""

    client: SSL.Context
    server: SSL.Context
    _material: Material
    _cipher_suites: str

    @cached_property
    def foreign_client(self) -> SSL.Context:
        return _foreign(SSL.TLS_CLIENT_METHOD, self._material, self._cipher_suites)

    @cached_property
    def foreign_server(self) -> Mapping[TlsVersion, SSL.Context]:
        """By the oldest version that a client may speak."""
        return {
            oldest: _foreign(SSL.TLS_SERVER_METHOD, self._material, self._cipher_suites, oldest)
            for oldest in TlsVersion
        }


def build_contexts(material: Material, cipher_suites: str = "") -> TlsContexts:
    """Contexts that present the material's leaf and trust its bundle alone; `config.cipher_suites` for the second.

    Raises BadCertificate for what OpenSSL does not take, such as a key that is too short for its security level.
    """
    try:
        client = _profile(SSL.TLS_CLIENT_METHOD, material, cipher_suites)
        client.set_alpn_protos([_ALPN])
        server = _profile(SSL.TLS_SERVER_METHOD, material, cipher_suites)
        server.set_alpn_select_callback(_select_protocol)
    except (SSL.Error, crypto.Error) as error:
        raise BadCertificate("unusable", f"OpenSSL does not take this certificate, key or bundle: {error}") from error
    return TlsContexts(client, server, material, cipher_suites)


def verify_failure(connection: SSL.Connection) -> BadCertificate | HandshakeFailed | None:
    """Why our side refused the peer's chain in a failed handshake, or None when it did not."""
    recorded = connection.get_app_data()
    return recorded if isinstance(recorded, (BadCertificate, HandshakeFailed)) else None


def verified_chain(connection: SSL.Connection) -> tuple[x509.Certificate, ...]:
    """The peer's chain as it was verified: leaf first, root of our bundle last; empty before the handshake."""
    return tuple(connection.get_verified_chain(as_cryptography=True) or ())


def _foreign(
    method: int, material: Material, cipher_suites: str, oldest: TlsVersion = TlsVersion.TLS_1_3
) -> SSL.Context:
    """For peers that are no sidecars: each connection has a handshake of its own, and no protocol is agreed on.

    There may be thousands of connections, so an idle one gives its buffers back.
    """
    context = _profile(method, material, cipher_suites)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _judge_chain)
    if oldest is TlsVersion.TLS_1_2:
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        suites = cipher_suites.split(":") if cipher_suites else _CIPHERS_OF_1_2
        context.set_cipher_list(":".join(_CIPHERS_OF_1_2[suite] for suite in suites).encode())
    return context


def _profile(method: int, material: Material, cipher_suites: str) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    if cipher_suites:
        context.set_tls13_ciphersuites(cipher_suites.encode())
    # Under TLS 1.3 NO_TICKET alone still sends tickets that name a cached session: without a cache they name nothing.
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.use_certificate(material.chain[0])
    for certificate in material.chain[1:]:
        context.add_extra_chain_cert(certificate)
    context.use_privatekey(material.key)
    context.check_privatekey()
    store = context.get_cert_store()
    assert store is not None  # noqa: S101 - a new context always has one
    for certificate in material.bundle.certificates:
        store.add_cert(crypto.X509.from_cryptography(certificate))
    store.set_flags(crypto.X509StoreFlags.X509_STRICT)
    context.set_verify_depth(_VERIFY_DEPTH)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _judge)
    return context


def _judge(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """As `_judge_chain`, and a peer that offers no ALPN at all is refused here.

    OpenSSL then never asks `_select_protocol`, and would go on.
    """
    if ok and connection.get_alpn_proto_negotiated() != _ALPN:
        return _refused(connection, HandshakeFailed("wrong_alpn", "the peer names no protocol: is it a sidecar?"))
    return _judge_chain(connection, certificate, error, depth, ok)


def _judge_chain(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """OpenSSL's verdict; of a leaf that OpenSSL finds unfit for its use, the rule for SVIDs says more exactly why."""
    if ok:
        return True
    found = refusal(error)
    if depth == 0 and found.reason in _TOLD_BETTER:
        try:
            read_svid(certificate.to_cryptography())
        except BadCertificate as better:
            found = better
        except (ValueError, x509.InvalidVersion):
            pass
    return _refused(connection, found)


_TOLD_BETTER: Final = frozenset({"wrong_purpose", "invalid_ca", "key_usage_cert_sign", "other"})


def _refused(connection: SSL.Connection, why: BadCertificate | HandshakeFailed) -> bool:
    """Keep the first thing that was wrong, in the connection's application data."""
    if connection.get_app_data() is None:
        connection.set_app_data(why)
    return False


def _select_protocol(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """Our protocol, or the fatal alert no_application_protocol (RFC 7301 3.2), which pyOpenSSL sends on an exception.

    Its NO_OVERLAPPING_PROTOCOLS would let the handshake go on without a protocol. The exception surfaces from
    `do_handshake` of this connection.
    """
    if _ALPN in offered:
        return _ALPN
    raise HandshakeFailed("wrong_alpn", f"the peer offered the protocols {offered!r}, expected {ALPN_TUNNEL!r}")


# --- the directory's streams: the same profile in the standard library's TLS, which asyncio streams need


def directory_client_context(material: Material) -> ssl.SSLContext:
    """A sidecar's side. It is made from the material in memory: kubelet removes the files of an older version."""
    chain = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in material.chain)
    key = material.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return stream_client_context(chain, key, material.bundle.certificates, ALPN_DIRECTORY)


def stream_client_context(
    chain: bytes, key: bytes, bundle: Iterable[x509.Certificate], protocol: str
) -> ssl.SSLContext:
    """The side that dials the directory, with a PEM chain and key, for one of the directory's protocols (ALPN)."""
    context = _directory_profile(ssl.PROTOCOL_TLS_CLIENT, protocol)
    context.load_verify_locations(cadata=b"".join(each.public_bytes(Encoding.DER) for each in bundle))
    with ExitStack() as stack:
        context.load_cert_chain(stack.enter_context(in_memory(chain)), stack.enter_context(in_memory(key)))
    return context


def directory_server_context(certificate_file: Path, key_file: Path, bundle_file: Path) -> ssl.SSLContext:
    """The directory's side, from its files; raises BadCertificate when they cannot be used."""
    context = _directory_profile(ssl.PROTOCOL_TLS_SERVER, ALPN_DIRECTORY, ALPN_EVIDENCE)
    context.num_tickets = 0
    try:
        context.load_cert_chain(certificate_file, key_file)
        context.load_verify_locations(cafile=bundle_file)
    except (OSError, ssl.SSLError) as error:
        raise BadCertificate(
            "bad_serving_files", f"{certificate_file}, {key_file} and {bundle_file} cannot be served with: {error}"
        ) from error
    return context


def check_directory_peer(connection: ssl.SSLObject, trust_domain: str, protocol: str = ALPN_DIRECTORY) -> Proof:
    """Who is at the other end of a directory stream; raises HandshakeFailed.

    Python lets a handshake go on without a protocol in common, so that is refused here.
    """
    if connection.selected_alpn_protocol() != protocol:
        raise HandshakeFailed("wrong_alpn", f"the peer does not speak {protocol!r}: is it Handfast's directory?")
    der = connection.getpeercert(binary_form=True)
    if der is None:
        raise HandshakeFailed("no_certificate", "the peer sent no certificate")
    chain = _verified_chain(connection)
    if len(chain) > MAX_CHAIN + 1:
        # `ssl` cannot be told a depth.
        raise HandshakeFailed("chain_too_long", str(refusal(CERT_CHAIN_TOO_LONG)))
    try:
        leaf = read_peer(x509.load_der_x509_certificate(der), trust_domain)
        return Proof(leaf, anchor(x509.load_der_x509_certificate(chain[-1])))
    except BadCertificate as error:
        raise HandshakeFailed(error.reason, str(error)) from error
    except (ValueError, x509.InvalidVersion) as error:
        raise HandshakeFailed("malformed", f"the peer's certificate cannot be parsed: {error}") from error


def stream_failure(error: ssl.SSLError) -> HandshakeFailed:
    """Why a handshake of the directory's stream failed, on either side, in the words of tunnels."""
    if isinstance(error, ssl.SSLCertVerificationError):
        found = refusal(error.verify_code, error.verify_message)
        return HandshakeFailed(found.reason, str(found))
    reason = error.reason or ""
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return HandshakeFailed("no_certificate", "the client sent no certificate: is it a Handfast sidecar?")
    if reason in _OTHER_VERSION:
        return HandshakeFailed("tls_version", f"the peer does not speak TLS 1.3 ({reason})")
    return HandshakeFailed("tls", f"the TLS handshake failed: {reason or error}")


_OTHER_VERSION: Final = frozenset({"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"})


def _verified_chain(connection: ssl.SSLObject) -> list[bytes]:
    """The peer's chain as it was verified, leaf first and root last, as DER."""
    if sys.version_info >= (3, 13):
        return connection.get_verified_chain()
    inner: Any = connection
    found = inner._sslobj.get_verified_chain()  # noqa: SLF001 - public from 3.13 on
    return [each.public_bytes(_ENCODING_DER) for each in found]


def _directory_profile(side: int, *protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(list(protocols))
    return context


@contextmanager
def in_memory(content: bytes) -> Iterator[str]:
    """A path to bytes that never reach a file system: `ssl` reads certificates and keys from paths alone."""
    descriptor = os.memfd_create("handfast", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
