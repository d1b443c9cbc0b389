"""What the webhook and the directory present, asked over real TLS on loopback."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from handfast_operator.authority.authority import Authority, AuthoritySet
from handfast_operator.authority.gates import Witness
from handfast_operator.authority.leaf import IssuedLeaf, LeafRequest, issue
from handfast_operator.authority.rotation import plan
from handfast_operator.authority.state import AuthorityState
from handfast_operator.authority.steps import Situation
from handfast_operator.authority.storage import new_root
from handfast_operator.cluster.kinds import SECRETS
from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.store import Store
from handfast_operator.controller import servers as module
from handfast_operator.controller.rotation import Standing
from handfast_operator.controller.servers import Servers
from handfast_operator.controller.serving import ServingCertificates, servers
from handfast_operator.resources.trust_domain import RotationSpec
from handfast_operator.settings import Settings
from support.memory_api import MemoryApi
from support.objects import pod
from support.ports import free_port

NOW = datetime.now(UTC)
WEBHOOK = pod("handfast-system", "webhook-1", service_account="handfast-webhook", ips=("127.0.0.1",), meshed=False)


def authority(number: int, state: AuthorityState) -> Authority:
    made = new_root("cluster.local", NOW)
    return Authority(f"handfast-authority-{number}", "cluster.local", state, made.certificate, made.key, since=NOW)


class Rig:
    """A rotation under way, and a webhook that serves what it was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.port, self.folder = free_port(), folder
        monkeypatch.setattr(module, "_PORTS", {"handfast-webhook": self.port})
        monkeypatch.setattr(module, "LOOK_S", 0.02)
        old, new = authority(1, AuthorityState.DRAINING), authority(2, AuthorityState.ACTIVE)
        self.authorities = AuthoritySet("cluster.local", (old, new))
        self.before = AuthoritySet("cluster.local", (authority_as(old, AuthorityState.ACTIVE),))
        self.api = MemoryApi()
        self.serving = ServingCertificates(self.api, Settings(), lambda: self.authorities)
        self.pods = Store[Pod]()
        self.pods.put(WEBHOOK)
        self.servers = Servers(self.pods, Settings(), self.serving, self.standing)
        self.heard = asyncio.Event()
        self.servers.subscribe(self.heard.set)

    def standing(self) -> Standing:
        situation = Situation(RotationSpec(), timedelta(days=1), (Witness("shop/cart"),))
        return Standing(self.authorities, plan(NOW, self.authorities, situation))

    @asynccontextmanager
    async def webhook(self, leaf: IssuedLeaf) -> AsyncIterator[None]:
        (self.folder / "tls.crt").write_bytes(leaf.chain_pem)
        (self.folder / "tls.key").write_bytes(leaf.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "tls.crt", self.folder / "tls.key")
        server = await asyncio.start_server(_nothing, "127.0.0.1", self.port, ssl=context)
        async with server:
            yield

    async def look(self) -> Witness:
        """Ask once more; what is known then."""
        self.servers.look()
        running = asyncio.ensure_future(self.servers.run())
        try:
            await asyncio.wait_for(self.heard.wait(), 5)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        self.heard.clear()
        [witness] = self.servers.witnesses()
        return witness


def authority_as(known: Authority, state: AuthorityState) -> Authority:
    return Authority(known.name, known.trust_domain, state, known.certificate, known.key, since=NOW)


async def _nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rig:
    return Rig(monkeypatch, tmp_path)


def request() -> LeafRequest:
    return servers(Settings())[0].request


async def test_a_server_that_presents_the_leaf_of_its_secret_has_loaded_the_bundle_beside_it(rig: Rig) -> None:
    await rig.serving.ensure()
    raw = rig.api.objects[SECRETS.item("handfast-system", "handfast-webhook-tls")]
    given = {name: base64.b64decode(value) for name, value in raw["data"].items()}
    leaf = issue(rig.authorities.active, request(), NOW)
    loaded = IssuedLeaf(
        given["tls.crt"], given["tls.key"], leaf.serial, NOW, leaf.not_before, leaf.not_after, leaf.issuer
    )
    async with rig.webhook(loaded):
        witness = await rig.look()
    assert witness.bundle == rig.authorities.fingerprint
    assert witness.issuers == (rig.authorities.active.key_id,)


async def test_a_server_that_presents_another_leaf_has_not(rig: Rig) -> None:
    await rig.serving.ensure()
    async with rig.webhook(issue(rig.before.active, request(), NOW)):
        witness = await rig.look()
    assert witness.bundle == ""
    assert witness.issuers == (rig.before.active.key_id,)


async def test_a_server_that_does_not_answer_was_not_heard(rig: Rig) -> None:
    await rig.serving.ensure()
    witness = await rig.look()
    assert (witness.pod, witness.at) == ("handfast-system/webhook-1", None)
