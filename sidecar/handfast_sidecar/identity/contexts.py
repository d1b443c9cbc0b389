"""TLS contexts of tunnels, foreign peers and the directory's stream: one profile, from one version of the identity.

The one rule: a context is built once and never changed; new certificates or roots make new contexts, because
`load_verify_locations` and its kind only ever add roots. TLS 1.3 alone (1.2 where a policy lets foreign clients speak
it), strict X.509, no tickets and no sessions: a resumed session would outlive the certificate it was opened with.
"""

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL, crypto

from handfast_sidecar.errors import BadCertificate, HandshakeFailed
from handfast_sidecar.identity.leaf import Leaf, read_peer
from handfast_sidecar.identity.material import MAX_CHAIN, Material
from handfast_sidecar.policy.effective import TlsVersion
from handfast_sidecar.wellknown import ALPN_DIRECTORY, ALPN_TUNNEL

_ALPN: Final = ALPN_TUNNEL.encode()
_VERIFY_DEPTH: Final = MAX_CHAIN - 1
"""Intermediates between leaf and root; a chain of MAX_CHAIN certificates has one leaf."""
_CIPHERS_OF_1_2: Final = {
    "TLS_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
}
"""What is nearest under TLS 1.2 to each suite of 1.3: forward secret, authenticated encryption, our kind of key."""
_REASONS: Final = {
    10: "expired",  # CERT_HAS_EXPIRED
    9: "not_yet_valid",  # CERT_NOT_YET_VALID
    2: "untrusted",  # UNABLE_TO_GET_ISSUER_CERT
    18: "untrusted",  # DEPTH_ZERO_SELF_SIGNED_CERT
    19: "untrusted",  # SELF_SIGNED_CERT_IN_CHAIN
    20: "untrusted",  # UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: "untrusted",  # UNABLE_TO_VERIFY_LEAF_SIGNATURE
    27: "untrusted",  # CERT_UNTRUSTED
    22: "chain_too_long",  # CERT_CHAIN_TOO_LONG
    25: "path_length",  # PATH_LENGTH_EXCEEDED
    7: "bad_signature",  # CERT_SIGNATURE_FAILURE
    26: "wrong_purpose",  # INVALID_PURPOSE
    32: "invalid_ca",  # KEYUSAGE_NO_CERTSIGN
    79: "invalid_ca",  # INVALID_CA
    89: "invalid_ca",  # CA_BCONS_NOT_CRITICAL
    92: "invalid_ca",  # CA_CERT_MISSING_KEY_USAGE
    34: "critical_extension",  # UNHANDLED_CRITICAL_EXTENSION
    47: "name_constraints",  # PERMITTED_VIOLATION
    48: "name_constraints",  # EXCLUDED_VIOLATION
    85: "no_key_identifier",  # MISSING_AUTHORITY_KEY_IDENTIFIER
    86: "no_key_identifier",  # MISSING_SUBJECT_KEY_IDENTIFIER
}
"""The X509_V_ERR_ numbers of openssl/x509_vfy.h, which are part of OpenSSL's ABI."""


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


def verify_failure(connection: SSL.Connection) -> str | None:
    """Why our side refused the peer's chain in a failed handshake: a stable word, or None when it did not."""
    recorded = connection.get_app_data()
    return recorded if isinstance(recorded, str) else None


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
        return _refused(connection, "wrong_alpn")
    return _judge_chain(connection, certificate, error, depth, ok)


def _judge_chain(connection: SSL.Connection, _certificate: crypto.X509, error: int, _depth: int, ok: int) -> bool:
    """OpenSSL's verdict."""
    return bool(ok) or _refused(connection, _REASONS.get(error) or f"other:{error}")


def _refused(connection: SSL.Connection, reason: str) -> bool:
    """Keep the first thing that was wrong, in the connection's application data."""
    if connection.get_app_data() is None:
        connection.set_app_data(reason)
    return False


def _select_protocol(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """Our protocol, or the fatal alert no_application_protocol (RFC 7301 3.2), which pyOpenSSL sends on an exception.

    Its NO_OVERLAPPING_PROTOCOLS would let the handshake go on without a protocol. The exception surfaces from
    `do_handshake` of this connection.
    """
    if _ALPN in offered:
        return _ALPN
    raise HandshakeFailed("wrong_alpn", f"the peer offered the protocols {offered!r}, expected {ALPN_TUNNEL!r}")


# --- the directory's stream: the same profile in the standard library's TLS, which asyncio streams need


def directory_client_context(material: Material) -> ssl.SSLContext:
    """A sidecar's side. It is made from the material in memory: kubelet removes the files of an older version."""
    context = _directory_profile(ssl.PROTOCOL_TLS_CLIENT)
    chain = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in material.chain)
    key = material.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    roots = b"".join(certificate.public_bytes(Encoding.DER) for certificate in material.bundle.certificates)
    context.load_verify_locations(cadata=roots)
    with ExitStack() as stack:
        context.load_cert_chain(stack.enter_context(_in_memory(chain)), stack.enter_context(_in_memory(key)))
    return context


def directory_server_context(certificate_file: Path, key_file: Path, bundle_file: Path) -> ssl.SSLContext:
    """The directory's side, from its files; raises BadCertificate when they cannot be used."""
    context = _directory_profile(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    try:
        context.load_cert_chain(certificate_file, key_file)
        context.load_verify_locations(cafile=bundle_file)
    except (OSError, ssl.SSLError) as error:
        raise BadCertificate(
            "bad_serving_files", f"{certificate_file}, {key_file} and {bundle_file} cannot be served with: {error}"
        ) from error
    return context


def check_directory_peer(connection: ssl.SSLObject, trust_domain: str) -> Leaf:
    """Who is at the other end of a directory stream; raises HandshakeFailed.

    Python lets a handshake go on without a protocol in common, so that is refused here.
    """
    if connection.selected_alpn_protocol() != ALPN_DIRECTORY:
        raise HandshakeFailed("wrong_alpn", f"the peer does not speak {ALPN_DIRECTORY!r}: is it Handfast's directory?")
    der = connection.getpeercert(binary_form=True)
    if der is None:
        raise HandshakeFailed("no_certificate", "the peer sent no certificate")
    try:
        return read_peer(x509.load_der_x509_certificate(der), trust_domain)
    except BadCertificate as error:
        raise HandshakeFailed(error.reason, str(error)) from error
    except (ValueError, x509.InvalidVersion) as error:
        raise HandshakeFailed("malformed", f"the peer's certificate cannot be parsed: {error}") from error


def _directory_profile(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols([ALPN_DIRECTORY])
    return context


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A path to bytes that never reach a file system: `ssl` reads certificates and keys from paths alone."""
    descriptor = os.memfd_create("handfast", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
