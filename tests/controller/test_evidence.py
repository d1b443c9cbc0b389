"""The controller follows every replica of the directory, over real TLS on loopback."""

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from handfast_operator.authority.authority import Authority, AuthoritySet
from handfast_operator.authority.root import make_root
from handfast_operator.authority.state import AuthorityState
from handfast_operator.cluster.objects import Pod
from handfast_operator.controller.evidence import KEEP_S, EvidenceCollector
from handfast_operator.directory.feed import MAX_FEEDS
from handfast_operator.directory.loopback import serve_evidence
from handfast_operator.evidence.view import EdgeView, EvidenceView, Party, from_json, to_json
from handfast_sidecar.directory.messages import Edge
from handfast_sidecar.observe.metrics import Registry
from support.directory import HOST, REPORT, Lab, Sidecar, running, until
from support.pki import Issued, TestAuthority, write_files
from support.stores import TRUST_DOMAIN, Cluster, pod

CART = pod("cart", "10.0.0.1")
ORDERS = pod("orders", "10.0.0.2")
CART_ID = "spiffe://test.example/ns/shop/sa/cart"
ORDERS_ID = "spiffe://test.example/ns/shop/sa/orders"
OTHER_HOST = "127.0.0.2"
ALPN = "handfast-evidence/1"


@dataclass
class Rig:
    """Replicas, the controller's view of them, and a root that both have their leaves of."""

    lab: Lab
    authorities: AuthoritySet
    now: float = 1000.0
    changes: int = 0
    registry: Registry = field(default_factory=Registry)

    @asynccontextmanager
    async def collector(self) -> AsyncIterator[EvidenceCollector]:
        collector = EvidenceCollector(
            self.lab.cluster.pods,
            self.lab.settings,
            lambda: self.authorities,
            self.registry,
            port=self.lab.port,
            monotonic=lambda: self.now,
        )
        collector.subscribe(self._changed)
        async with running(collector.run()):
            yield collector

    def _changed(self) -> None:
        self.changes += 1

    def count(self, name: str, **labels: str) -> float:
        return self.registry.gauge(name, "", tuple(labels)).labels(*labels.values()).read()

    def lost(self, reason: str) -> float:
        return self.registry.counter("handfast_evidence_lost_total", "", ("reason",)).labels(reason).read()


def replica(name: str, host: str = HOST) -> Pod:
    return pod(name, host, meshed=False, namespace="handfast-system", service_account="handfast-directory")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = make_root(TRUST_DOMAIN, datetime.now(UTC))
    root = Authority("handfast-authority-1", TRUST_DOMAIN, AuthorityState.ACTIVE, made.certificate, made.key)
    authority = TestAuthority.of(TRUST_DOMAIN, made.certificate, made.key)
    lab = Lab(tmp_path, Cluster(CART, ORDERS, replica("directory-1")), authority=authority)
    return Rig(lab, AuthoritySet(TRUST_DOMAIN, (root,)))


def reporting(lab: Lab, connections: int, *, by: str = "orders", **more: object) -> Sidecar:
    """A sidecar of ORDERS, or of CART, and how often the other one connected to it."""
    sidecar = lab.sidecar(ORDERS if by == "orders" else CART)
    edge = Edge("in", CART_ID if by == "orders" else ORDERS_ID, 8080, True, connections, last=time.time())
    sidecar.report = replace(REPORT, edges=(replace(edge, **more),))  # type: ignore[arg-type]
    return sidecar


def counted(collector: EvidenceCollector) -> dict[str, int]:
    return {edge.source.name: edge.connections for edge in collector.view.edges}


async def test_what_sidecars_report_reaches_the_controller(rig: Rig) -> None:
    async with rig.lab.server(), rig.collector() as collector, reporting(rig.lab, 3, open=1):
        await until(lambda: counted(collector) == {"serviceaccount/cart": 3})
        (edge,) = collector.view.edges
        assert (edge.destination, edge.open) == (Party("shop", "pod/orders", ORDERS_ID), 1)
        assert collector.view.pods[ORDERS.uid].serial == REPORT.serial
        assert list(collector.view.replicas) == ["directory-1"]
        assert rig.changes > 0
        assert rig.count("handfast_evidence_replicas", state="connected") == 1


async def test_the_views_of_two_replicas_are_one(rig: Rig) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(rig.lab.server())
        await stack.enter_async_context(reporting(rig.lab, 3))
        await stack.enter_async_context(rig.lab.server(host=OTHER_HOST))
        rig.lab.cluster.put(replica("directory-2", OTHER_HOST))
        second = reporting(rig.lab, 5, by="cart")
        config = replace(second.config, directory=replace(second.config.directory, host=OTHER_HOST))
        rig.lab.leaf_of(CART).write(second.folder, config)
        second.keeper.look()
        await stack.enter_async_context(second)
        collector = await stack.enter_async_context(rig.collector())
        await until(lambda: counted(collector) == {"serviceaccount/cart": 3, "serviceaccount/orders": 5})
        assert set(collector.view.replicas) == {"directory-1", "directory-2"}
        assert set(collector.view.pods) == {CART.uid, ORDERS.uid}


async def test_a_replica_that_comes_later_is_followed_too(rig: Rig) -> None:
    rig.lab.cluster.remove(replica("directory-1"))
    async with rig.lab.server(), rig.collector() as collector, reporting(rig.lab, 3):
        rig.lab.cluster.put(replica("directory-1"))
        await until(lambda: counted(collector) == {"serviceaccount/cart": 3})


async def test_a_replica_that_is_away_is_told_by_its_age_and_without_what_was_open_and_after_a_minute_not_at_all(
    rig: Rig,
) -> None:
    async with AsyncExitStack() as stack:
        async with rig.lab.server():
            collector = await stack.enter_async_context(rig.collector())
            async with reporting(rig.lab, 3, open=2):
                await until(lambda: [edge.open for edge in collector.view.edges] == [2])
        await until(lambda: rig.count("handfast_evidence_replicas", state="connected") == 0)
        assert [(edge.connections, edge.open) for edge in collector.view.edges] == [(3, 0)]
        assert collector.view.replicas["directory-1"] == collector.view.at
        rig.now += KEEP_S + 1
        rig.lab.cluster.remove(replica("directory-1"))
        await until(lambda: collector.view.edges == ())
        assert collector.view.replicas == {}
        assert rig.count("handfast_evidence_replicas", state="away") == 0


async def test_a_replica_that_comes_back_is_found_again(rig: Rig) -> None:
    async with AsyncExitStack() as stack:
        async with rig.lab.server():
            collector = await stack.enter_async_context(rig.collector())
            await until(lambda: rig.count("handfast_evidence_replicas", state="connected") == 1)
        await until(lambda: rig.count("handfast_evidence_replicas", state="connected") == 0)
        async with rig.lab.server(), reporting(rig.lab, 4):
            await until(lambda: counted(collector) == {"serviceaccount/cart": 4})


async def test_who_is_not_the_directory_is_not_believed(rig: Rig) -> None:
    async with rig.lab.server(rig.lab.leaf_of(ORDERS)), rig.collector() as collector:
        await until(lambda: rig.lost("wrong_identity") > 0)
        assert collector.view.at == 0


async def test_without_an_authority_nothing_is_asked_and_it_is_tried_again(rig: Rig) -> None:
    whole, rig.authorities = rig.authorities, AuthoritySet(TRUST_DOMAIN, ())
    async with rig.lab.server(), rig.collector():
        await until(lambda: rig.lost("no_authority") > 0)
        rig.authorities = whole
        await until(lambda: rig.count("handfast_evidence_replicas", state="connected") == 1)


# --- who may read it


def client(lab: Lab, issued: Issued) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=lab.authority.bundle_pem.decode())
    context.set_alpn_protocols([ALPN])
    context.load_cert_chain(*write_files(lab.folder / "stranger", issued)[:2])
    return context


@pytest.mark.parametrize(
    "identity",
    [
        CART_ID,
        "spiffe://test.example/ns/handfast-system/sa/handfast-directory",
        "spiffe://test.example/ns/shop/sa/handfast-controller",
        "spiffe://test.example/ns/handfast-system/sa/handfast-controller2",
    ],
)
async def test_nobody_but_the_controller_is_shown_the_evidence(rig: Rig, identity: str) -> None:
    leaf = rig.lab.authority.issue(identity, pod_uid=CART.uid)
    async with rig.lab.server():
        assert await said(rig.lab, leaf) == b""
        await rig.lab.refused("not_the_controller")


async def test_the_controller_of_another_trust_domain_is_not_shown_it(rig: Rig) -> None:
    leaf = rig.lab.authority.issue("spiffe://other.example/ns/handfast-system/sa/handfast-controller")
    async with rig.lab.server():
        assert await said(rig.lab, leaf) == b""
        await rig.lab.refused("wrong_trust_domain")


async def test_the_controllers_leaf_opens_a_feed_that_ends_with_the_leaf(rig: Rig) -> None:
    leaf = rig.lab.authority.issue(rig.lab.settings.controller_id, pod_uid=None, ttl=timedelta(seconds=1.5))
    async with rig.lab.server():
        first, *_ = (await said(rig.lab, leaf)).splitlines()
        assert json.loads(first)["version"] == 2


async def test_the_controllers_leaf_is_no_sidecars(rig: Rig) -> None:
    leaf = rig.lab.authority.issue(rig.lab.settings.controller_id, pod_uid=None)
    async with rig.lab.server():
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(HOST, rig.lab.port, ssl=rig.lab.tls_client(leaf))
            await reader.read()
            writer.close()
        await rig.lab.refused("no_pod_uid")


@pytest.mark.timeout(300)
async def test_a_controller_that_does_not_read_costs_a_buffer_and_holds_up_no_other(rig: Rig) -> None:
    source = Party("shop", "x" * 5000)  # together more than the kernel's buffers of one connection
    big = EvidenceView(1.0, tuple(EdgeView(source, Party("", str(n)), 80, False) for n in range(3000)))
    leaf = rig.lab.authority.issue(rig.lab.settings.controller_id, pod_uid=None)
    async with rig.lab.server() as server, AsyncExitStack() as stack:
        server.feeds._view = lambda: big
        _reader, writer = await asyncio.open_connection(HOST, rig.lab.port, ssl=client(rig.lab, leaf))
        stack.callback(writer.transport.abort)
        await until(lambda: any(not each.writable.is_set() for each in server.feeds._running.values()))
        (feed,) = server.feeds._running.values()
        assert feed.transport.get_write_buffer_size() < 1 << 20
        async with rig.collector() as collector:
            await until(lambda: len(collector.view.edges) == 3000, 30)


async def test_of_many_controllers_the_first_makes_room(rig: Rig) -> None:
    leaf = rig.lab.authority.issue(rig.lab.settings.controller_id, pod_uid=None)
    async with rig.lab.server() as server:
        first = asyncio.ensure_future(said(rig.lab, leaf))
        await until(lambda: len(server.feeds._running) == 1)
        later = [await asyncio.open_connection(HOST, rig.lab.port, ssl=client(rig.lab, leaf)) for _ in range(MAX_FEEDS)]
        assert await first, "it was told everything, and then the connection ended"
        for _reader, writer in later:
            writer.transport.abort()


async def said(lab: Lab, leaf: Issued) -> bytes:
    """All that a client with this leaf is told until the directory ends it."""
    try:
        reader, writer = await asyncio.open_connection(HOST, lab.port, ssl=client(lab, leaf))
        heard = bytearray()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            async with asyncio.timeout(10):
                while part := await reader.read(1 << 16):
                    heard += part
        writer.transport.abort()
    except (ConnectionError, ssl.SSLError):
        return b""
    return bytes(heard)


async def test_on_loopback_the_view_is_json(rig: Rig) -> None:
    async with rig.lab.server() as server, reporting(rig.lab, 3), serve_evidence(server.evidence.view, 0) as port:
        await until(lambda: len(server.evidence) == 1)
        async with aiohttp.ClientSession() as session, session.get(f"http://{HOST}:{port}/evidence") as answer:
            view = from_json(await answer.json())
        (edge,) = view.edges
        assert edge.connections == 3
        assert list(to_json(view)["pods"]) == [ORDERS.uid]
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(OTHER_HOST, port)
