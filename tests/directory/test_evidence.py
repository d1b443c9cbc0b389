"""What sidecars reported, added up over pods, runs of proxies, and replicas: each connection counted once."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from handfast_operator.cluster.objects import Pod
from handfast_operator.directory.attribution import Attribution
from handfast_operator.directory.edges import Edges
from handfast_operator.directory.evidence import EDGES_PER_POD, Evidence
from handfast_operator.directory.index import AddressIndex
from handfast_operator.directory.session import Peer
from handfast_operator.evidence.view import EdgeView, EvidenceView, Party, merge
from handfast_sidecar.directory.messages import Edge, Report
from handfast_sidecar.directory.reporting import Reporting
from handfast_sidecar.identity.spiffe import SpiffeId
from support.stores import TRUST_DOMAIN, Cluster, pod, service

CART_ID = "spiffe://test.example/ns/shop/sa/cart"
ORDERS_ID = "spiffe://test.example/ns/shop/sa/orders"
ORDERS = pod("orders", "10.0.0.2", owner="StatefulSet/orders")
CART = pod("cart", "10.0.0.1", owner="ReplicaSet/cart-5d9", labels={"pod-template-hash": "5d9"})
PLAIN = pod("plain", "10.0.0.3", meshed=False)
CART_ACCOUNT = Party("shop", "serviceaccount/cart", CART_ID)
CART_WORKLOAD = Party("shop", "deployment/cart", CART_ID)
ORDERS_WORKLOAD = Party("shop", "statefulset/orders", ORDERS_ID)


class Rig:
    """A replica, and the sidecars that speak to it."""

    def __init__(self, **bounds: int) -> None:
        self.now = 1000.0
        self.cluster = Cluster(ORDERS, CART, PLAIN, service("orders", "10.96.0.1"))
        self.edges = Edges()
        self.evidence = self.replica("one", edges=self.edges, **bounds)

    def replica(self, name: str, *, edges: Edges | None = None, **bounds: int) -> Evidence:
        cluster = self.cluster
        index = AddressIndex(TRUST_DOMAIN, cluster.pods, cluster.services, cluster.slices, cluster.policies)
        attribution = Attribution(index, cluster.pods)
        return Evidence(attribution, name, edges=edges, clock=lambda: self.now, **bounds)

    def only(self) -> EdgeView:
        (edge,) = self.evidence.view().edges
        return edge


class Sidecar:
    """Counts as a sidecar does, and reports over streams that come and go."""

    def __init__(self, of: Pod) -> None:
        self.pod = of
        self.counts: dict[str, Edge] = {}
        self._forgets: set[str] = set()
        self._reporting = Reporting(lambda: report(*self.counts.values()), self._make_room)

    def has(self, edge: Edge) -> None:
        self.counts[edge.peer] = edge

    def forgets(self, peer: str) -> None:
        """With its next report."""
        self._forgets.add(peer)

    def _make_room(self) -> bool:
        gone, self._forgets = self._forgets & self.counts.keys(), set()
        for peer in gone:
            del self.counts[peer]
        return bool(gone)

    def connects_to(self, evidence: Evidence) -> None:
        for line in self._reporting.begin():
            evidence.take(peer(self.pod), line)
        self.reports_to(evidence)

    def reports_to(self, evidence: Evidence) -> None:
        for line in self._reporting.next():
            evidence.take(peer(self.pod), line)


def peer(of: Pod) -> Peer:
    identity = SpiffeId.of_service_account(TRUST_DOMAIN, of.namespace, of.service_account)
    return Peer(of.uid, f"{of.namespace}/{of.name}", identity, datetime(2030, 1, 1, tzinfo=UTC))


def report(*edges: Edge) -> Report:
    return Report("1f", "2030-01-01T00:00:00Z", "aa", 3, edges)


def from_cart(connections: int, **more: object) -> Edge:
    return replace(Edge("in", CART_ID, 8080, True, connections, last=900.0), **more)  # type: ignore[arg-type]


# --- counting


def test_all_that_a_proxy_saw_before_its_first_report_counts() -> None:
    rig, orders = Rig(), Sidecar(ORDERS)
    orders.has(from_cart(3, bytes_in=10, bytes_out=20, refused={"denied": 2}, rule="MTLSPolicy shop/orders"))
    orders.connects_to(rig.evidence)
    assert rig.only() == EdgeView(
        CART_ACCOUNT,
        ORDERS_WORKLOAD,
        8080,
        True,
        connections=3,
        bytes=30,
        refused={"denied": 2},
        rule="MTLSPolicy shop/orders",
        last_seen=900.0,
        last_carried=900.0,
    )


def test_of_later_reports_what_became_more_counts() -> None:
    rig, orders = Rig(), Sidecar(ORDERS)
    orders.has(from_cart(3, audited={"denied": 1}))
    orders.connects_to(rig.evidence)
    orders.has(from_cart(5, audited={"denied": 2}))
    orders.reports_to(rig.evidence)
    orders.reports_to(rig.evidence)
    assert (rig.only().connections, rig.only().audited) == (5, {"denied": 2})


def test_a_restarted_proxy_counts_from_zero_and_is_added() -> None:
    rig, first, second = Rig(), Sidecar(ORDERS), Sidecar(ORDERS)
    first.has(from_cart(7, open=2))
    first.connects_to(rig.evidence)
    second.has(from_cart(9))
    second.connects_to(rig.evidence)
    assert (rig.only().connections, rig.only().open) == (16, 0)


def test_two_pods_of_a_workload_are_one_edge() -> None:
    rig = Rig()
    other = pod("orders-1", "10.0.0.9", owner="StatefulSet/orders", service_account="orders")
    rig.cluster.put(other)
    for each in (ORDERS, other):
        sidecar = Sidecar(each)
        sidecar.has(from_cart(2))
        sidecar.connects_to(rig.evidence)
    assert rig.only().connections == 4


def test_what_one_replica_counted_the_next_one_does_not_count_again() -> None:
    rig, orders = Rig(), Sidecar(ORDERS)
    other = rig.replica("two")
    orders.has(from_cart(3))
    orders.connects_to(rig.evidence)
    orders.has(from_cart(5))
    orders.connects_to(other)
    orders.has(from_cart(6))
    orders.reports_to(other)
    orders.has(from_cart(10))
    orders.connects_to(rig.evidence)
    assert sum(edge.connections for each in (rig.evidence, other) for edge in each.view().edges) == 10


def test_a_replica_that_begins_later_knows_the_edge_and_when_it_was_used_but_not_how_often() -> None:
    rig, orders = Rig(), Sidecar(ORDERS)
    orders.has(from_cart(3, open=1, rule="default"))
    orders.connects_to(rig.evidence)
    restarted = rig.replica("one")
    orders.connects_to(restarted)
    (edge,) = restarted.view().edges
    assert (edge.connections, edge.open, edge.rule) == (0, 1, "default")
    rig.now = 1500.0
    orders.has(from_cart(3, last=1490.0))
    orders.reports_to(restarted)
    rig.now = 2000.0
    (edge,) = restarted.view().edges
    assert (edge.connections, edge.last_seen, edge.last_carried) == (0, 1500.0, 1500.0)


def test_when_something_was_carried_is_not_when_something_was_refused() -> None:
    rig, orders = Rig(), Sidecar(ORDERS)
    orders.has(from_cart(3, last=800.0))
    orders.connects_to(rig.evidence)
    orders.has(from_cart(3, last=950.0, refused={"denied": 1}))
    orders.reports_to(rig.evidence)
    assert (rig.only().last_seen, rig.only().last_carried) == (950.0, 800.0)
    assert attributed(from_cart(0, refused={"denied": 1}), ORDERS).edges[0].last_carried == 0.0


def test_a_sidecar_that_names_no_run_is_counted_from_its_second_report_on() -> None:
    rig = Rig()
    for connections in (5, 7, 1):  # the last one of a proxy that has restarted
        rig.evidence.take(peer(ORDERS), report(from_cart(connections)))
    assert rig.only().connections == 3


def test_an_older_report_that_comes_late_changes_nothing() -> None:
    rig = Rig()
    for number, connections in ((1, 3), (3, 9), (2, 5)):
        rig.evidence.take(peer(ORDERS), replace(report(from_cart(connections)), run="a", number=number))
    assert rig.only().connections == 9


def test_what_comes_back_under_the_name_of_a_forgotten_edge_is_new() -> None:
    rig, orders = Rig(), Sidecar(ORDERS)
    orders.has(from_cart(1, last=800.0))
    orders.has(Edge("in", ORDERS_ID, 8080, True, 4, open=1))
    orders.forgets(CART_ID)
    orders.connects_to(rig.evidence)
    rig.now = 2000.0
    orders.has(from_cart(1, last=1900.0))
    orders.has(Edge("in", ORDERS_ID, 8080, True, 5, open=1))
    orders.reports_to(rig.evidence)
    known = {edge.source.identity: edge for edge in rig.evidence.view().edges}
    assert (known[CART_ID].connections, known[CART_ID].last_carried) == (2, 1900.0)
    assert (known[ORDERS_ID].connections, known[ORDERS_ID].open) == (5, 1)


steps = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.booleans(), st.booleans()), min_size=1, max_size=20)


@settings(max_examples=60)
@given(steps)
def test_however_a_sidecar_moves_between_replicas_restarts_and_forgets_nothing_counts_twice(
    moves: list[tuple[int, int, bool, bool]],
) -> None:
    rig, orders = Rig(), Sidecar(ORDERS)
    replicas = [rig.evidence, rig.replica("two"), rig.replica("three")]
    at, total, mine = -1, 0, 0
    for where, more, restarts, forgets in moves:
        if restarts:
            orders, at, mine = Sidecar(ORDERS), -1, 0
        total, mine = total + more, mine + more
        orders.has(from_cart(mine))
        if forgets:
            orders.forgets(CART_ID)
        if where == at:
            orders.reports_to(replicas[where])
        else:
            orders.connects_to(replicas[where])
        at, mine = where, 0 if forgets else mine
    assert sum(edge.connections for each in replicas for edge in each.view().edges) == total


# --- open connections


def test_open_connections_are_seen_now_and_their_end_is_when_they_were_last_seen() -> None:
    rig, orders = Rig(), Sidecar(ORDERS)
    orders.has(from_cart(1, open=1))
    orders.connects_to(rig.evidence)
    rig.now = 5000.0
    assert (rig.only().open, rig.only().last_seen) == (1, 5000.0)
    orders.has(from_cart(1))
    orders.reports_to(rig.evidence)
    rig.now = 9000.0
    assert (rig.only().open, rig.only().last_seen) == (0, 5000.0)


def test_what_a_pod_without_a_session_has_open_is_told_by_another_replica() -> None:
    rig, orders = Rig(), Sidecar(ORDERS)
    other = rig.replica("two")
    orders.has(from_cart(1, open=1))
    orders.connects_to(rig.evidence)
    rig.evidence.silent(ORDERS.uid)
    orders.connects_to(other)
    assert merge([rig.evidence.view(), other.view()]).edges[0].open == 1
    other.silent(ORDERS.uid)
    orders.connects_to(rig.evidence)
    assert merge([rig.evidence.view(), other.view()]).edges[0].open == 1


def test_a_connection_ends_where_it_was_open_although_its_address_is_another_pods_by_then() -> None:
    rig, orders = Rig(), Sidecar(ORDERS)
    orders.has(Edge("in", "10.0.0.3", 8080, False, 1, open=1))
    orders.connects_to(rig.evidence)
    rig.cluster.remove(PLAIN)
    rig.cluster.put(pod("later", "10.0.0.3", meshed=False))
    orders.has(Edge("in", "10.0.0.3", 8080, False, 1, open=0, last=1000.0))
    orders.reports_to(rig.evidence)
    assert {edge.source.name: edge.open for edge in rig.evidence.view().edges}["pod/plain"] == 0


def test_a_pod_that_is_gone_leaves_its_edges_without_open_connections() -> None:
    rig, orders = Rig(), Sidecar(ORDERS)
    orders.has(from_cart(4, open=4))
    orders.connects_to(rig.evidence)
    rig.evidence.forget(ORDERS.uid)
    assert (rig.only().connections, rig.only().open, dict(rig.evidence.view().pods)) == (4, 0, {})


# --- who it is, and who counts


def attributed(edge: Edge, by: Pod = CART, prepare: Callable[[Rig], None] = lambda _rig: None) -> EvidenceView:
    rig, sidecar = Rig(), Sidecar(by)
    prepare(rig)
    sidecar.has(edge)
    sidecar.connects_to(rig.evidence)
    return rig.evidence.view()


def test_a_plaintext_client_is_named_after_its_workload() -> None:
    view = attributed(Edge("in", "10.0.0.1", 8080, False, 2, last=900.0), ORDERS)
    [edge] = [each for each in view.edges if not each.encrypted]
    assert (edge.source, edge.destination, edge.port, edge.connections, edge.last_seen) == (
        Party("shop", "deployment/cart"),
        ORDERS_WORKLOAD,
        8080,
        2,
        900.0,
    )


def test_a_client_that_has_ended_is_still_named() -> None:
    view = attributed(Edge("in", "10.0.0.3", 8080, False, 1), ORDERS, lambda rig: rig.cluster.remove(PLAIN))
    assert view.edges[0].source == Party("shop", "pod/plain")


def test_an_address_that_is_no_pods_is_an_address() -> None:
    assert attributed(Edge("in", "192.0.2.7", 8080, False, 1), ORDERS).edges[0].source == Party("", "192.0.2.7")


def test_a_foreign_identity_is_named_by_its_path() -> None:
    view = attributed(Edge("in", "spiffe://test.example/billing/api", 8443, True, 1), ORDERS)
    assert view.edges[0].source == Party("", "billing/api", "spiffe://test.example/billing/api")


def test_of_a_tunnel_the_server_tells_and_the_client_does_not() -> None:
    assert attributed(Edge("out", ORDERS_ID, 8080, True, 3, refused={"denied": 1})).edges == ()


def test_of_a_server_without_a_sidecar_the_client_tells() -> None:
    (edge,) = attributed(Edge("out", "10.0.0.3", 5432, False, 3, open=1)).edges
    assert (edge.source, edge.destination, edge.connections, edge.open) == (
        CART_WORKLOAD,
        Party("shop", "pod/plain"),
        3,
        1,
    )
    (edge,) = attributed(Edge("out", "spiffe://test.example/ns/db/sa/db", 5432, True, 2, foreign=True)).edges
    assert (edge.destination.name, edge.encrypted, edge.connections) == ("serviceaccount/db", True, 2)


def test_of_plaintext_to_a_meshed_pod_the_client_tells_only_what_never_came_there() -> None:
    assert attributed(Edge("out", "10.0.0.2", 8080, False, 3, open=3)).edges == ()
    (edge,) = attributed(Edge("out", "10.0.0.2", 8080, False, 3, refused={"connect_failed": 2})).edges
    assert (edge.connections, edge.refused) == (0, {"connect_failed": 2})


def test_what_a_meshed_pods_sidecar_does_not_see_the_client_tells() -> None:
    def skip(rig: Rig) -> None:
        rig.cluster.put(replace(ORDERS, annotations={"handfast.dev/skip-inbound-ports": "9000-9100"}))

    def explicit(rig: Rig) -> None:
        rig.cluster.put(replace(ORDERS, annotations={"handfast.dev/interception": "none"}))

    assert attributed(Edge("out", "10.0.0.2", 9090, False, 3), prepare=skip).edges[0].connections == 3
    assert attributed(Edge("out", "10.0.0.2", 8080, False, 3), prepare=skip).edges == ()
    assert attributed(Edge("out", "10.0.0.2", 8080, False, 3), prepare=explicit).edges[0].connections == 3


def test_a_services_address_is_named_after_the_service() -> None:
    (edge,) = attributed(Edge("out", "10.96.0.1", 80, False, refused={"no_endpoints": 1})).edges
    assert (edge.destination, edge.port) == (Party("shop", "service/orders"), 80)


def test_what_no_sidecar_of_ours_would_say_is_left_out() -> None:
    for edge in (
        Edge("sideways", CART_ID, 80, True, 1),
        Edge("in", "not an address", 80, False, 1),
        Edge("in", "spiffe://..", 80, True, 1),
        Edge("in", CART_ID, 70000, True, 1),
    ):
        assert attributed(edge, ORDERS).edges == ()


def test_a_report_of_a_pod_that_nobody_knows_any_more_is_left_out() -> None:
    rig = Rig()
    rig.cluster.remove(ORDERS)
    Sidecar(ORDERS).connects_to(rig.evidence)
    assert len(rig.evidence) == 0


# --- bounds


def test_the_longest_silent_pod_makes_room() -> None:
    rig = Rig(max_pods=2)
    for each in (ORDERS, CART, ORDERS, PLAIN):
        Sidecar(each).connects_to(rig.evidence)
    assert rig.evidence.of(CART.uid) is None
    assert len(rig.evidence) == 2


def test_one_pod_cannot_make_more_than_its_share_of_edges_whatever_it_says() -> None:
    rig = Rig()
    cart = Sidecar(CART)
    cart.has(Edge("in", ORDERS_ID, 80, True, 1))
    cart.connects_to(rig.evidence)
    for run in range(6):
        made = (Edge("in", f"spiffe://test.example/r{run}/{n}", 80, True, 1, last=2000.0) for n in range(1000))
        rig.evidence.take(peer(ORDERS), replace(report(*made), run=str(run), number=1))
    view = rig.evidence.view()
    assert len(rig.edges) <= 1024 + 1
    assert any(edge.destination == replace(CART_WORKLOAD) for edge in view.edges), "the others' edges stay"
    assert sum(edge.connections for edge in view.edges) == 6001, "what made room is part of other"


def test_a_pod_that_says_more_than_a_sidecar_has_to_say_is_not_listened_to_any_further() -> None:
    rig = Rig()
    edges = [Edge("in", f"spiffe://test.example/e/{n}", 80, True, 1) for n in range(EDGES_PER_POD + 500)]
    for number in (1, 2):
        rig.evidence.take(peer(ORDERS), replace(report(*edges), run="a", number=number))
    assert sum(edge.connections for edge in rig.evidence.view().edges) == EDGES_PER_POD


def test_a_pod_whose_counts_made_room_begins_anew_and_is_not_counted_twice() -> None:
    rig, orders, cart = Rig(max_told=1), Sidecar(ORDERS), Sidecar(CART)
    orders.has(from_cart(5, open=1))
    orders.connects_to(rig.evidence)
    cart.has(Edge("in", ORDERS_ID, 80, True, 1))
    cart.connects_to(rig.evidence)
    orders.reports_to(rig.evidence)
    orders.has(from_cart(6, open=1))
    orders.reports_to(rig.evidence)
    (edge,) = (edge for edge in rig.evidence.view().edges if edge.source == CART_ACCOUNT)
    assert (edge.connections, edge.open) == (6, 1)


def test_reasons_and_rules_are_bounded() -> None:
    refused = {f"reason_{n}": 1 for n in range(100)} | {"No Word Of Ours\n" * 100: 1}
    (edge,) = attributed(from_cart(1, refused=refused, rule="x" * 5000), ORDERS).edges
    assert (len(edge.refused), edge.refused["other"], len(edge.rule)) == (33, 69, 400)


# --- the view


def test_totals_are_over_all_pods() -> None:
    rig, orders, cart = Rig(), Sidecar(ORDERS), Sidecar(CART)
    orders.has(Edge("in", "10.0.0.3", 80, False, 1))
    cart.has(Edge("out", ORDERS_ID, 80, True, 2))
    orders.connects_to(rig.evidence)
    cart.connects_to(rig.evidence)
    assert [rig.evidence.total(*each) for each in (("in", False), ("out", True), ("in", True))] == [1, 2, 0]


def test_a_view_says_what_each_pod_runs_with_and_whose_view_it_is() -> None:
    rig = Rig()
    Sidecar(ORDERS).connects_to(rig.evidence)
    view = rig.evidence.view()
    assert (view.pods[ORDERS.uid].pod, view.pods[ORDERS.uid].revision) == ("shop/orders", 3)
    assert (view.at, view.replicas) == (1000.0, {"one": 1000.0})


def test_a_pod_that_trusts_or_needs_others_than_before_is_told_of_at_once() -> None:
    rig, moves = Rig(), list[int]()
    rig.evidence.moved = lambda: moves.append(len(moves))
    said = Report("1f", "2030-01-02T03:04:05Z", "ab" * 32, 42, issuers=("aa",))
    for each in (said, said, replace(said, bundle="cd" * 32), replace(said, bundle="cd" * 32, issuers=("bb",))):
        rig.evidence.take(peer(CART), each)
    assert moves == [0, 1]
