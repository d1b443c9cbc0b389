"""The sidecar's client against the real server, over real TLS on loopback."""

import asyncio
import gc
import time
from asyncio import sslproto
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from handfast_operator.cluster.objects import Node
from handfast_operator.directory.acceptor import READ_BYTES
from handfast_sidecar.directory.messages import (
    Edge,
    NobodyAddress,
    Place,
    PodAddress,
    PolicyUpdate,
    ServiceAddress,
    Transport,
)
from handfast_sidecar.policy.effective import Mode
from handfast_sidecar.policy.in_force import PolicyInForce
from support.directory import REPORT, Lab, until
from support.pki import write_files
from support.stores import Cluster, end, endpoint_slice, modes, pod, service

CART = pod("cart", "10.0.0.1")
ORDERS = pod("orders", "10.0.0.2")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    ends = endpoint_slice("orders-1", "orders", [end(ORDERS)])
    return Lab(tmp_path, Cluster(CART, ORDERS, service("orders", "10.96.0.1"), ends))


async def test_an_address_is_resolved_and_then_known(lab: Lab) -> None:
    async with lab.server(), lab.sidecar(CART) as sidecar:
        answer = await sidecar.directory.resolve("10.0.0.2", 5)
        assert isinstance(answer, PodAddress)
        assert str(answer.identity) == "spiffe://test.example/ns/shop/sa/orders"
        assert sidecar.directory.known("10.0.0.2") is answer


async def test_many_questions_about_one_address_are_one_watch(lab: Lab) -> None:
    async with lab.server() as server, lab.sidecar(CART) as sidecar:
        await asyncio.gather(*(sidecar.directory.resolve("10.96.0.1", 5) for _ in range(50)))
        (session,) = server.switchboard._connections
        assert session.watched == {"10.96.0.1"}


async def test_an_idle_stream_keeps_a_small_buffer_and_not_asyncios_own(lab: Lab) -> None:
    async with lab.server(), lab.sidecar(CART) as sidecar:
        await sidecar.directory.resolve("10.0.0.2", 5)
        layers = [each for each in gc.get_objects() if isinstance(each, sslproto.SSLProtocol)]
        assert layers
        assert {len(each._ssl_buffer) for each in layers} == {READ_BYTES}  # type: ignore[attr-defined]


async def test_a_deleted_pod_leaves_the_services_endpoints_at_its_watchers(lab: Lab) -> None:
    end_of_service = endpoint_slice("orders-1", "orders", [end(ORDERS, ready=False, serving=False, terminating=True)])
    async with lab.server(), lab.sidecar(CART) as sidecar:
        answer = await sidecar.directory.resolve("10.96.0.1", 5)
        assert isinstance(answer, ServiceAddress)
        assert [each.transport for each in answer.ports[80]] == [Transport.TUNNEL]
        lab.cluster.put(pod("orders", "10.0.0.2", deleting=True), end_of_service)
        await until(
            lambda: sidecar.directory.known("10.96.0.1") == ServiceAddress("10.96.0.1", "shop/orders", {80: ()})
        )


async def test_a_sidecar_is_told_its_node_and_zone_at_once_and_when_they_change(lab: Lab) -> None:
    here = pod("cart", "10.0.0.1", node="node-1")
    lab.cluster.put(here, ORDERS, Node("node-1", 1, "zone-a"), Node("node-2", 1, "zone-b"))
    async with lab.server(), lab.sidecar(here) as sidecar, lab.sidecar(ORDERS) as other:
        await until(lambda: sidecar.directory.place == Place("node-1", "zone-a"))
        lab.cluster.put(Node("node-2", 2, "zone-c"), Node("node-1", 2, "zone-d"))
        await until(lambda: sidecar.directory.place == Place("node-1", "zone-d"))
        lab.cluster.remove(Node("node-1", 3, "zone-d"))
        await until(lambda: sidecar.directory.place == Place("node-1", ""))
        assert other.directory.place == Place(), "a pod without a node has no zone either"


async def test_the_policy_comes_at_once_and_on_change(lab: Lab) -> None:
    async with lab.server(), lab.sidecar(CART) as sidecar:
        await until(lambda: len(sidecar.policies) == 1)
        lab.cluster.policies.set(CART, modes(Mode.STRICT))
        await until(lambda: len(sidecar.policies) == 2)
        assert sidecar.policies[1] == PolicyUpdate(2, modes(Mode.STRICT))


async def test_a_policy_of_a_history_that_the_api_server_has_lost_is_overruled(lab: Lab) -> None:
    """etcd restored from a copy: revisions go back, and the sidecar holds a higher one than there is."""
    lab.cluster.policies.set(CART, modes(Mode.STRICT))
    lab.revision = 500
    async with lab.server():
        sidecar = lab.sidecar(CART)
        sidecar.report = replace(REPORT, revision=900)
        async with sidecar:
            await until(lambda: len(sidecar.policies) == 2)
    assert [each.over for each in sidecar.policies] == [0, 900]
    assert sidecar.policies[1].policy == modes(Mode.STRICT)
    in_force = PolicyInForce(modes(Mode.PERMISSIVE), 900)
    assert not in_force.offer(sidecar.policies[0].policy, sidecar.policies[0].revision)
    assert in_force.offer(sidecar.policies[1].policy, sidecar.policies[1].revision, sidecar.policies[1].over)
    assert in_force.revision == sidecar.policies[1].revision


async def test_a_history_that_was_seen_to_go_back_need_not_be_asked_for_although_the_new_one_has_passed_it(
    lab: Lab,
) -> None:
    lab.revision = 950
    async with lab.server() as server:
        server.switchboard.went_back(920)
        sidecar = lab.sidecar(CART)
        sidecar.report = replace(REPORT, revision=900)
        async with sidecar:
            await until(lambda: len(sidecar.policies) == 2)
    assert sidecar.policies[1].over == 900


async def test_a_replica_that_is_behind_overrules_nobody_and_tells_again_when_it_has_caught_up(lab: Lab) -> None:
    lab.revision = 901
    async with lab.server():
        sidecar = lab.sidecar(CART)
        sidecar.report = replace(REPORT, revision=900)
        async with sidecar:
            await until(lambda: len(sidecar.policies) == 1)
            lab.cluster.policies.revision = 900
            await until(lambda: len(sidecar.policies) == 2)
    assert [(each.revision, each.over) for each in sidecar.policies][1] == (900, 0)


async def test_a_report_is_attributed_to_the_pod_of_the_leaf(lab: Lab) -> None:
    async with lab.server() as server, lab.sidecar(CART):
        await until(lambda: server.evidence.of(CART.uid) is not None)
        said = server.evidence.of(CART.uid)
        assert said is not None
        assert (said.pod, said.identity) == ("shop/cart", "spiffe://test.example/ns/shop/sa/cart")
        assert (said.serial, said.revision) == (REPORT.serial, REPORT.revision)


async def test_what_a_sidecar_told_one_replica_the_next_one_does_not_count_again(lab: Lab) -> None:
    edge = Edge("in", "spiffe://test.example/ns/shop/sa/orders", 8080, True, 3, open=1, last=1.0)
    async with AsyncExitStack() as stack:
        async with lab.server() as server:
            sidecar = lab.sidecar(CART)
            sidecar.report = replace(REPORT, edges=(edge,))
            await stack.enter_async_context(sidecar)
            await until(lambda: [each.connections for each in server.evidence.view().edges] == [3])
        assert server.evidence.view().edges[0].open == 0, "its session has ended"
        sidecar.report = replace(REPORT, edges=(replace(edge, connections=5),))
        async with lab.server() as other:
            await until(lambda: [each.connections for each in other.evidence.view().edges] == [2])
            assert other.evidence.view().edges[0].open == 1


async def test_what_comes_back_after_its_edge_made_room_is_told_and_counted_in_full(lab: Lab) -> None:
    def front(name: int, last: float) -> Edge:
        return Edge("in", f"spiffe://test.example/ns/web/sa/front-{name}", 80, True, 1, last=last)

    def told() -> list[tuple[int, float]]:
        return sorted((each.connections, each.last_carried) for each in server.evidence.view().edges)

    now = time.time() - 60
    async with lab.server() as server, lab.sidecar(CART) as sidecar:
        sidecar.report = replace(REPORT, edges=(front(0, now), front(1, now)))
        sidecar.left = replace(REPORT, edges=(front(1, now),))
        await until(lambda: told() == [(1, now), (1, now)])
        sidecar.report = replace(REPORT, edges=(front(0, now + 30), front(1, now)))
        sidecar.directory.report_soon()
        await until(lambda: told() == [(1, now), (2, now + 30)])


async def test_a_proxy_that_ends_tells_what_it_saw_last(lab: Lab) -> None:
    async with lab.server() as server:
        async with lab.sidecar(CART) as sidecar:
            await until(lambda: server.evidence.of(CART.uid) is not None)
            edge = Edge("in", "spiffe://test.example/ns/shop/sa/orders", 8080, True, 3, last=time.time())
            sidecar.report = replace(REPORT, edges=(edge,))
        await until(lambda: [each.connections for each in server.evidence.view().edges] == [3])


async def test_after_a_restart_of_the_server_every_address_is_watched_again(lab: Lab) -> None:
    async with AsyncExitStack() as stack:
        async with lab.server():
            sidecar = await stack.enter_async_context(lab.sidecar(CART))
            await sidecar.directory.resolve("10.0.0.2", 5)
        await sidecar.ended("goodbye")
        assert sidecar.directory.known("10.0.0.2") is not None
        lab.cluster.remove(ORDERS)
        async with lab.server():
            await until(lambda: sidecar.directory.known("10.0.0.2") == NobodyAddress("10.0.0.2"))


async def test_a_question_asked_without_a_directory_is_answered_by_the_one_that_comes(lab: Lab) -> None:
    async with lab.server():
        sidecar = lab.sidecar(CART)
    async with sidecar:
        question = asyncio.ensure_future(sidecar.directory.resolve("10.0.0.2", 10))
        await sidecar.ended("unreachable")
        async with lab.server():
            assert isinstance(await question, PodAddress)


async def test_nobody_answering_in_time_is_no_answer(lab: Lab) -> None:
    async with lab.server():
        sidecar = lab.sidecar(CART)
    async with sidecar:
        assert await sidecar.directory.resolve("10.0.0.2", 0.05) is None
        assert not sidecar.directory.connected


async def test_a_restarted_proxy_knows_what_it_knew(lab: Lab) -> None:
    async with lab.server(), lab.sidecar(CART) as sidecar:
        answer = await sidecar.directory.resolve("10.0.0.2", 5)
    assert lab.sidecar(CART).directory.known("10.0.0.2") == answer


async def test_a_server_under_another_identity_is_told_nothing(lab: Lab) -> None:
    impostor = lab.leaf_of(ORDERS)
    async with lab.server(impostor), lab.sidecar(CART) as sidecar:
        await sidecar.ended("wrong_identity")
        assert not sidecar.directory.connected


async def test_a_new_leaf_moves_the_stream_to_it(lab: Lab) -> None:
    async with lab.server() as server, lab.sidecar(CART) as sidecar:
        await until(lambda: len(server.switchboard) == 1)
        sidecar.renew(lab.leaf_of(CART))
        await sidecar.ended("renewed")
        await until(lambda: sidecar.directory.connected)


async def test_a_new_policy_in_config_json_keeps_the_stream(lab: Lab) -> None:
    leaf = lab.leaf_of(CART)
    async with lab.server(), lab.sidecar(CART, leaf) as sidecar:
        await until(lambda: sidecar.directory.connected)
        sidecar.config = replace(sidecar.config, revision=2)
        sidecar.renew(leaf)
        assert await sidecar.directory.resolve("10.0.0.2", 5) is not None
        assert "reconnects_total{" not in sidecar.registry.render()


async def test_no_stream_outlives_its_leaf(lab: Lab) -> None:
    leaf = lab.authority.issue("spiffe://test.example/ns/shop/sa/cart", pod_uid=CART.uid, ttl=timedelta(seconds=1.5))
    async with lab.server(), lab.sidecar(CART, leaf) as sidecar:
        await until(lambda: sidecar.directory.connected)
        await until(lambda: not sidecar.directory.connected)


async def test_the_directorys_own_leaf_is_exchanged_without_a_restart(lab: Lab) -> None:
    async with lab.server() as server, lab.sidecar(CART) as sidecar:
        await until(lambda: sidecar.directory.connected)
        old = server.certificate.context
        write_files(lab.settings.tls_dir, lab.authority.issue(lab.settings.directory_id))
        assert server.certificate.look()
        assert server.certificate.context is not old
        assert sidecar.directory.connected


async def test_a_broken_serving_certificate_changes_nothing(lab: Lab) -> None:
    async with lab.server() as server:
        old = server.certificate.context
        (lab.settings.tls_dir / "tls.crt").write_text("broken")
        assert not server.certificate.look()
        assert server.certificate.context is old


async def test_a_stale_replica_says_goodbye_and_takes_nobody_new(lab: Lab) -> None:
    async with lab.server() as server, lab.sidecar(CART) as sidecar:
        await until(lambda: sidecar.directory.connected)
        lab.follow.fresh_at = 0
        for _ in range(15):
            server.switchboard.tick()
        await sidecar.ended("goodbye", 2)
        await lab.refused("stale")
        assert len(server.switchboard) == 0


async def test_a_deleted_pods_session_ends(lab: Lab) -> None:
    async with lab.server() as server, lab.sidecar(CART) as sidecar:
        await until(lambda: server.evidence.of(CART.uid) is not None)
        lab.cluster.remove(CART)
        await sidecar.ended("goodbye")
        assert server.evidence.of(CART.uid) is None


async def test_a_pod_that_our_watch_has_not_seen_yet_is_waited_for(lab: Lab) -> None:
    young = pod("young", "10.0.0.7")
    async with lab.server() as server, lab.sidecar(young) as sidecar:
        await until(lambda: bool(server._acceptor._gate._awaited))
        lab.cluster.put(young)
        await until(lambda: sidecar.directory.connected)
