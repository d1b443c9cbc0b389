"""Every certificate and every form of TLS that is refused (DESIGN 2.3), in real handshakes, in both directions.

Our server meets a client that presents it, our client a server, and the directory and its client likewise. Each time
our metric has the row's word, and nothing was said to the stranger: no stream, no line.
"""

import ast
import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL

from handfast_sidecar.config.document import DirectoryAddress
from handfast_sidecar.directory.messages import Endpoint, Transport
from handfast_sidecar.directory.stream import DirectoryStream, StreamEnded
from handfast_sidecar.errors import HandshakeFailed
from handfast_sidecar.identity import leaf, verification
from handfast_sidecar.identity.contexts import build_contexts
from handfast_sidecar.identity.material import Material, parse_material
from handfast_sidecar.identity.reload import Identity
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.identity.standing import Standing
from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.policy.in_force import PolicyInForce
from handfast_sidecar.policy.limiter import HandshakeLimit
from handfast_sidecar.traffic.listener import Listener
from handfast_sidecar.traffic.mesh_port import MeshPort
from handfast_sidecar.traffic.sockets import listen
from handfast_sidecar.tunnel.pool import TunnelPool
from handfast_sidecar.wellknown import ALPN_DIRECTORY, ALPN_TUNNEL
from support.certificates import CART, TRUST_DOMAIN, Presented
from support.directory import Lab
from support.pki import Issued, plain_config
from support.refusals import GOOD, ROOT, ROWS, Row
from support.stores import Cluster
from support.strangers import HOST, call, listening, stranger

DIRECTORY = SpiffeId.of_service_account(TRUST_DOMAIN, "handfast-system", "handfast-directory")
TUNNEL, STREAM = ALPN_TUNNEL.encode(), ALPN_DIRECTORY.encode()
every_row = pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])


@cache
def presented_by(row: Row) -> Presented:
    return row.make()


def ours(other: Presented, port: int = 0) -> Material:
    """What we are, trusting our root and the stranger's."""
    bundle = b"".join(each.public_bytes(Encoding.PEM) for each in {ROOT.certificate, other.root})
    config = plain_config(TRUST_DOMAIN, directory=DirectoryAddress(HOST, port, DIRECTORY))
    return parse_material(GOOD.pem, _key_pem(GOOD), bundle, config.dump().encode())


def _key_pem(presented: Presented) -> bytes:
    return presented.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass
class Seen:
    """What a side of ours let happen."""

    failed: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)
    opened: list[object] = field(default_factory=list)


@asynccontextmanager
async def mesh_port(who: Identity) -> AsyncIterator[tuple[int, Seen]]:
    seen = Seen()
    mesh = MeshPort(
        lambda: who,
        lambda _tunnel, stream: seen.opened.append(stream),
        opened=seen.opened.append,
        closed=lambda _tunnel, _reason: None,
        failed=seen.failed.put_nowait,
        limit=HandshakeLimit(PolicyInForce(EffectivePolicy(), 1)),
    )
    listener = Listener("mesh", [listen(HOST, 0)], 16, mesh.accepted)
    mesh.released = listener.release
    try:
        yield listener.port, seen
    finally:
        listener.close()
        mesh.close("test over")


async def refused_by_our_server(context: SSL.Context, other: Presented) -> str:
    material = ours(other)
    async with asyncio.timeout(10), mesh_port(Identity(material, build_contexts(material))) as (port, seen):
        answer = await asyncio.to_thread(call, port, context)
        reason = await seen.failed.get()
        assert (answer, seen.opened) == (b"", [])
        return reason


async def refused_by_our_client(context: SSL.Context, other: Presented, expected: str = CART) -> str:
    material, seen = ours(other), Seen()
    identity = Identity(material, build_contexts(material))
    async with listening(context) as server:
        pool = TunnelPool(
            lambda: identity,
            opened=seen.opened.append,
            closed=lambda _tunnel, _reason: None,
            failed=seen.failed.put_nowait,
            mesh_port=server.port,
        )
        with pytest.raises(HandshakeFailed) as refused:
            async with asyncio.timeout(10):
                await pool.get(Endpoint(HOST, 80, Transport.TUNNEL, SpiffeId.parse(expected)))
        pool.close("test over")
    assert (server.heard, seen.opened) == ([b""], [])
    assert refused.value.reason == seen.failed.get_nowait()
    assert len(str(refused.value)) > 30, "the reader must learn what to do"
    return refused.value.reason


async def refused_by_the_directory(context: SSL.Context, other: Presented, folder: Path) -> str:
    lab = Lab(folder, Cluster())
    serving = ROOT.leaf(uris=[str(DIRECTORY)])
    bundle = b"".join(each.public_bytes(Encoding.PEM) for each in {ROOT.certificate, other.root})
    async with asyncio.timeout(10), lab.server(Issued(serving.chain, serving.key, bundle)) as server:  # type: ignore[arg-type]
        answer = await asyncio.to_thread(call, lab.port, context)
        while not (reasons := _refusals(lab)):  # noqa: ASYNC110 - its metric is how it tells
            await asyncio.sleep(0.005)
        assert (answer, len(server.switchboard)) == (b"", 0)
    [reason] = reasons
    return reason


def _refusals(lab: Lab) -> list[str]:
    lines = lab.registry.render().splitlines()
    return [
        line.split('"')[1]
        for line in lines
        if line.startswith("handfast_directory_refused_total{") and not line.endswith(" 0")
    ]


async def refused_by_the_directorys_client(context: SSL.Context, other: Presented) -> str:
    async with listening(context) as server:
        material = ours(other, server.port)
        identity = Identity(material, build_contexts(material))
        with pytest.raises(StreamEnded) as refused:
            await DirectoryStream.open(material, Standing(lambda: identity))
    assert server.heard == [b""]
    return refused.value.reason


@every_row
async def test_our_server_refuses_such_a_client(row: Row) -> None:
    shown = presented_by(row)
    reason = await refused_by_our_server(stranger(SSL.TLS_CLIENT_METHOD, shown, [TUNNEL]), shown)
    assert reason == row.reason


@every_row
async def test_our_client_refuses_such_a_server(row: Row) -> None:
    shown = presented_by(row)
    reason = await refused_by_our_client(stranger(SSL.TLS_SERVER_METHOD, shown, [TUNNEL]), shown)
    assert reason == row.reason


@every_row
async def test_the_directory_refuses_such_a_client(row: Row, tmp_path: Path) -> None:
    shown = presented_by(row)
    reason = await refused_by_the_directory(stranger(SSL.TLS_CLIENT_METHOD, shown, [STREAM]), shown, tmp_path)
    assert reason == (row.to_the_directory or row.reason)


@every_row
async def test_the_directorys_client_refuses_such_a_server(row: Row) -> None:
    shown = presented_by(row)
    reason = await refused_by_the_directorys_client(stranger(SSL.TLS_SERVER_METHOD, shown, [STREAM]), shown)
    assert reason == (row.of_the_directory or row.reason)


@dataclass(frozen=True)
class Form:
    """A way to speak TLS with a good certificate, or with none, that is refused."""

    reason: str
    protocols: tuple[bytes, ...] = (TUNNEL,)
    certificate: Presented | None = GOOD
    newest: int = SSL.TLS1_3_VERSION
    of_a_server: str = ""
    """Its word where it is another one: a server that chooses what was not offered breaks TLS (RFC 8446 4.2)."""

    def context(self, method: int) -> SSL.Context:
        made = stranger(method, self.certificate, list(self.protocols))
        made.set_max_proto_version(self.newest)
        return made


FORMS = {
    "no protocol": Form("wrong_alpn", ()),
    "another protocol": Form("wrong_alpn", (b"h2",), of_a_server="tls_error"),
    "the directory's protocol": Form("wrong_alpn", (STREAM,), of_a_server="tls_error"),
    "TLS 1.2": Form("tls_version", newest=SSL.TLS1_2_VERSION),
}


@pytest.mark.parametrize("form", [*FORMS.values(), Form("no_certificate", certificate=None)], ids=[*FORMS, "nobody"])
async def test_our_server_refuses_a_client_that_speaks_so(form: Form) -> None:
    assert await refused_by_our_server(form.context(SSL.TLS_CLIENT_METHOD), GOOD) == form.reason


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
async def test_our_client_refuses_a_server_that_speaks_so(form: Form) -> None:
    reason = await refused_by_our_client(form.context(SSL.TLS_SERVER_METHOD), GOOD)
    assert reason == (form.of_a_server or form.reason)


OF_THE_DIRECTORY = {
    "no protocol": Form("wrong_alpn", ()),
    "the tunnels' protocol": Form("wrong_alpn", (TUNNEL,), of_a_server="tls"),
    "TLS 1.2": Form("tls_version", (STREAM,), newest=SSL.TLS1_2_VERSION),
}
NOBODY = Form("no_certificate", (STREAM,), certificate=None)


@pytest.mark.parametrize("form", [*OF_THE_DIRECTORY.values(), NOBODY], ids=[*OF_THE_DIRECTORY, "nobody"])
async def test_the_directory_refuses_a_client_that_speaks_so(form: Form, tmp_path: Path) -> None:
    assert await refused_by_the_directory(form.context(SSL.TLS_CLIENT_METHOD), GOOD, tmp_path) == form.reason


@pytest.mark.parametrize("form", OF_THE_DIRECTORY.values(), ids=OF_THE_DIRECTORY)
async def test_the_directorys_client_refuses_a_server_that_speaks_so(form: Form) -> None:
    reason = await refused_by_the_directorys_client(form.context(SSL.TLS_SERVER_METHOD), GOOD)
    assert reason == (form.of_a_server or form.reason)


async def test_a_server_that_is_another_than_the_directory_said_is_refused() -> None:
    server = stranger(SSL.TLS_SERVER_METHOD, GOOD, [TUNNEL])
    assert await refused_by_our_client(server, GOOD, expected=f"{CART}-2") == "wrong_identity"


async def test_a_directory_under_another_identity_is_refused() -> None:
    server = stranger(SSL.TLS_SERVER_METHOD, GOOD, [STREAM])
    assert await refused_by_the_directorys_client(server, GOOD) == "wrong_identity"


def test_every_reason_that_a_certificate_is_refused_with_has_its_row() -> None:
    rows = {row.reason for row in ROWS} | {row.to_the_directory for row in ROWS} - {""}
    assert _reasons_of_leaves() | verification.WORDS == rows


def _reasons_of_leaves() -> set[str]:
    """Read from the module, so that a new one without a row fails here."""
    found = {reason for _role, reason, _name in leaf._BOTH_ROLES}
    for node in ast.walk(ast.parse(inspect.getsource(leaf))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "BadCertificate":
            reason = node.args[0]
            if isinstance(reason, ast.Constant):
                found.add(str(reason.value))
            else:
                assert isinstance(reason, ast.Name), "a reason that this test cannot read"
                assert reason.id == "reason"
    return found
