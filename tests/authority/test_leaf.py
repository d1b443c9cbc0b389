"""What the operator issues is what the sidecar accepts: read by its own code, and used in its own handshakes."""

import asyncio
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL

from handfast_operator.authority.authority import Authority, AuthoritySet, NoAuthority, SigningKey
from handfast_operator.authority.leaf import IssuedLeaf, LeafRequest, issue
from handfast_operator.authority.root import make_root
from handfast_operator.authority.state import AuthorityState
from handfast_sidecar.identity.contexts import (
    build_contexts,
    check_directory_peer,
    directory_client_context,
    directory_server_context,
    verified_chain,
)
from handfast_sidecar.identity.leaf import read_svid, serial_of
from handfast_sidecar.identity.material import Material, parse_material
from handfast_sidecar.identity.spiffe import SpiffeId
from support.issuers import Ca, chain_of, make_ca
from support.pki import plain_config, project

ORDERS = SpiffeId.parse("spiffe://test.example/ns/shop/sa/orders")
DAY = timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


def authorities(at: datetime | None = None, ttl: timedelta = timedelta(days=90)) -> AuthoritySet:
    root = make_root("test.example", at or now(), ttl)
    authority = Authority("handfast-authority-1", "test.example", AuthorityState.ACTIVE, root.certificate, root.key)
    return AuthoritySet("test.example", (authority,))


def request(**changes: object) -> LeafRequest:
    values = {"spiffe_id": ORDERS, "pod_name": "orders-0", "pod_uid": "uid-1", "ttl": DAY} | changes
    return LeafRequest(**values)  # type: ignore[arg-type]


def material(trusted: AuthoritySet, leaf: IssuedLeaf) -> Material:
    return parse_material(
        leaf.chain_pem, leaf.key_pem, trusted.bundle_pem, plain_config("test.example").dump().encode()
    )


def test_a_leaf_names_its_pod_and_its_identity() -> None:
    at = datetime(2026, 3, 1, 12, 0, 0, 500, tzinfo=UTC)
    issued = issue(authorities(at).active, request(pod_name="a" * 70), at)
    leaf = read_svid(x509.load_pem_x509_certificate(issued.chain_pem))
    assert (leaf.spiffe_id, leaf.pod_uid, leaf.pod_name) == (ORDERS, "uid-1", "a" * 64)
    assert (leaf.serial, leaf.not_before, leaf.not_after) == (issued.serial, issued.not_before, issued.not_after)


def test_life_is_counted_from_issuance_and_not_before_is_backdated() -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    issued = issue(authorities(at).active, request(), at)
    assert issued.issued_at == at
    assert issued.not_before == at - timedelta(minutes=4)
    assert issued.not_after == at + DAY


def test_a_leaf_never_outlives_its_issuer() -> None:
    trusted = authorities(ttl=timedelta(hours=3))
    issued = issue(trusted.active, request(), now())
    assert issued.not_after == trusted.active.certificate.not_valid_after_utc


def of_another(ca: Ca) -> AuthoritySet:
    """The trust domain whose issuer is somebody else's."""
    path = tuple(each.certificate for each in ca.path)
    authority = Authority(
        "handfast-authority-1", "test.example", AuthorityState.ACTIVE, path[0], ca.key, chain=path[:-1], root=path[-1]
    )
    return AuthoritySet("test.example", (authority,))


def test_a_leaf_never_outlives_any_certificate_above_it() -> None:
    short = timedelta(hours=5)
    for ca in (make_ca(make_ca(ttl=short)), make_ca(make_ca(make_ca(), ttl=short)), chain_of(2, ttl=short)):
        trusted = of_another(ca)
        issued = issue(trusted.active, request(), now())
        assert issued.not_after == trusted.active.ends
        assert issued.not_after == min(each.certificate.not_valid_after_utc for each in ca.path)


def test_a_chain_with_an_expired_root_signs_nothing() -> None:
    trusted = of_another(make_ca(make_ca(ttl=timedelta(hours=5))))
    assert not trusted.active.signs(now() + timedelta(hours=5))
    with pytest.raises(NoAuthority, match="expired"):
        issue(trusted.active, request(), now() + timedelta(hours=5))


@pytest.mark.parametrize(
    ("key", "fitting"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "sha256"),
        (ec.generate_private_key(ec.SECP384R1()), "sha384"),
        (ec.generate_private_key(ec.SECP521R1()), "sha512"),
        (rsa.generate_private_key(65537, 2048), "sha256"),
    ],
    ids=["P-256", "P-384", "P-521", "RSA"],
)
def test_the_hash_fits_the_key_that_signs_and_the_chain_is_sent(key: SigningKey, fitting: str) -> None:
    trusted = of_another(chain_of(3, key=key))
    issued = issue(trusted.active, request(), now())
    leaf, *chain = x509.load_pem_x509_certificates(issued.chain_pem)
    assert leaf.signature_hash_algorithm is not None
    assert leaf.signature_hash_algorithm.name == fitting
    assert tuple(chain) == trusted.active.chain
    assert material(trusted, issued).bundle.certificates == (trusted.active.root,)


def test_an_expired_authority_signs_nothing() -> None:
    trusted = authorities(ttl=timedelta(hours=3))
    with pytest.raises(NoAuthority, match="expired"):
        issue(trusted.active, request(), now() + timedelta(hours=3))


def test_every_leaf_has_its_own_key_and_names_its_issuer() -> None:
    trusted = authorities()
    first, second = (issue(trusted.active, request(), now()) for _ in range(2))
    assert first.key_pem != second.key_pem
    assert first.serial != second.serial
    assert first.issuer == serial_of(trusted.active.certificate)
    assert b"PRIVATE" not in repr(first).encode()


def test_key_usage_is_critical_and_the_key_identifiers_are_set() -> None:
    trusted = authorities()
    certificate = x509.load_pem_x509_certificate(issue(trusted.active, request(), now()).chain_pem)
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).critical
    authority_key = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    root_key = trusted.active.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert authority_key.key_identifier == root_key.digest


def test_the_root_is_a_signing_svid_that_signs_leaves_alone() -> None:
    root = authorities().active.certificate
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
    names = root.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://test.example"]
    assert "test.example" in root.subject.rfc4514_string()
    assert make_root("test.example", now()).certificate.subject != root.subject


def test_the_sidecar_takes_the_leaf_and_two_of_them_shake_hands() -> None:
    trusted = authorities()
    ours, theirs = (
        build_contexts(material(trusted, issue(trusted.active, request(pod_uid=uid), now()))) for uid in "ab"
    )
    client, server = SSL.Connection(ours.client, None), SSL.Connection(theirs.server, None)
    client.set_connect_state()
    server.set_accept_state()
    shake_hands(client, server)
    assert read_svid(verified_chain(client)[0]).pod_uid == "b"
    assert read_svid(verified_chain(server)[0]).pod_uid == "a"


def shake_hands(client: SSL.Connection, server: SSL.Connection) -> None:
    """Carry bytes between two connections in memory until both are done."""
    waiting = {client, server}
    for _ in range(10):
        for here, there in ((client, server), (server, client)):
            try:
                here.do_handshake()
                waiting.discard(here)
            except SSL.WantReadError:
                pass
            with suppress(SSL.WantReadError):
                there.bio_write(here.bio_read(1 << 16))
    assert not waiting


async def test_directory_and_sidecar_shake_hands(tmp_path: Path) -> None:
    trusted = authorities()
    directory_id = SpiffeId.of_service_account("test.example", "handfast-system", "handfast-directory")
    serving = issue(trusted.active, request(spiffe_id=directory_id, pod_name="handfast-directory", pod_uid=""), now())
    files = {"tls.crt": serving.chain_pem, "tls.key": serving.key_pem, "ca.crt": trusted.bundle_pem}
    project(tmp_path, files)
    server_tls = directory_server_context(*(tmp_path / name for name in files))
    client_tls = directory_client_context(material(trusted, issue(trusted.active, request(), now())))

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = check_directory_peer(writer.get_extra_info("ssl_object"), "test.example").leaf
        writer.write(f"{peer.spiffe_id}\n".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=server_tls) as server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_tls)
        assert check_directory_peer(writer.get_extra_info("ssl_object"), "test.example").leaf.spiffe_id == directory_id
        assert await reader.readline() == f"{ORDERS}\n".encode()
        writer.close()
        await writer.wait_closed()


def test_the_webhooks_certificate_is_good_for_its_dns_names(tmp_path: Path) -> None:
    trusted = authorities()
    name = "handfast-webhook.handfast-system.svc"
    issued = issue(trusted.active, request(spiffe_id=None, pod_name=name, pod_uid="", dns_names=[name]), now())
    project(tmp_path, {"pair.pem": issued.chain_pem + issued.key_pem})
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "pair.pem")
    calling = ssl.create_default_context(cadata=trusted.bundle_pem.decode())
    calling.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = calling.wrap_bio(to_client, to_server, server_hostname=name)
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    with pytest.raises(ssl.SSLWantReadError):
        server.do_handshake()
    client.do_handshake()
    assert client.getpeercert() is not None
