"""Which endpoint of a Service takes a connection: distribution, load, failure, drain, affinity and locality."""

from collections import Counter
from random import Random

import pytest

from handfast_sidecar.directory.messages import Endpoint, Place, ServiceAddress, Transport
from handfast_sidecar.traffic.endpoint_choice import EndpointChoice, endpoint_of
from handfast_sidecar.traffic.endpoint_health import FORGET_S, LAST_S, LEAVING_S, TRIAL_S, EndpointHealth
from handfast_sidecar.traffic.locality import within_reach
from handfast_sidecar.traffic.routing import Plain, Refuse
from support.mesh import SERVER_ID

VIP = "10.96.0.1"
HERE = Place("node-1", "zone-a")
DRAWS = 10_000


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - a distribution that is the same in each run


def pod(number: int, transport: Transport = Transport.TUNNEL, **facts: object) -> Endpoint:
    who = SERVER_ID if transport is Transport.TUNNEL else None
    return Endpoint(f"10.0.0.{number}", 8080, transport, who, f"uid-{number}", **facts)  # type: ignore[arg-type]


A, B, C, D, E = ALL = tuple(map(pod, range(1, 6)))


class Stage:
    """A choice among the endpoints of one Service, with a clock and loads that the test sets."""

    def __init__(self, *ends: Endpoint, place: Place = HERE, seed: int = 1, **fields: object) -> None:
        self.now = 1000.0
        self.load: Counter[Endpoint] = Counter()
        self.place = place
        self.fields = fields
        self.choice = EndpointChoice(self.load.__getitem__, clock=lambda: self.now, random=seeded(seed))
        self.answer(*ends)

    def answer(self, *ends: Endpoint) -> None:
        """The directory says who is behind the Service now."""
        self.service = ServiceAddress(VIP, "shop/orders", {80: ends}, **self.fields)  # type: ignore[arg-type]

    def draw(self, port: int = 80) -> Endpoint:
        found = endpoint_of(self.choice.route(self.service, port, self.place))
        assert found is not None
        return found

    def draws(self, count: int = DRAWS) -> Counter[Endpoint]:
        return Counter(self.draw() for _ in range(count))

    def refusal(self, port: int = 80) -> Refuse:
        found = self.choice.route(self.service, port, self.place)
        assert isinstance(found, Refuse)
        return found


# --- distribution and load


@pytest.mark.parametrize("count", [2, 3, 5])
def test_equally_loaded_endpoints_get_equal_parts(count: int) -> None:
    drawn = Stage(*ALL[:count]).draws()
    fair = DRAWS / count
    assert {end: round(drawn[end] / fair, 1) for end in ALL[:count]} == dict.fromkeys(ALL[:count], 1.0)


def test_ten_thousand_connections_that_stay_are_spread_within_four_of_each_other() -> None:
    stage = Stage(*ALL)
    for _ in range(DRAWS):
        stage.load[stage.draw()] += 1
    assert max(stage.load.values()) - min(stage.load.values()) <= 4, "one random choice would differ by about 100"
    assert sum(stage.load.values()) == DRAWS


def test_the_most_loaded_endpoint_is_never_drawn() -> None:
    stage = Stage(*ALL)
    stage.load[C] = 1
    assert C not in stage.draws()


def test_of_two_the_less_loaded_takes_all() -> None:
    stage = Stage(A, B)
    stage.load[A] = 3
    assert stage.draws() == {B: DRAWS}


# --- failure


def test_a_failed_endpoint_is_left_out_and_the_others_share_its_part() -> None:
    stage = Stage(*ALL)
    assert stage.choice.failed(C)
    drawn = stage.draws()
    assert C not in drawn
    assert {end: round(drawn[end] / 2500, 1) for end in (A, B, D, E)} == dict.fromkeys((A, B, D, E), 1.0)


def test_when_its_time_is_over_one_connection_tries_it_and_a_success_makes_it_whole() -> None:
    stage = Stage(A, B)
    stage.choice.failed(A)
    stage.now += 1.0
    assert stage.draws()[A] == 1, "one of ten thousand"
    stage.choice.health.succeeded(A)
    assert round(stage.draws()[A] / DRAWS, 1) == 0.5


def test_a_trial_of_which_nothing_is_heard_gives_way_to_another() -> None:
    stage = Stage(A, B)
    stage.choice.failed(A)
    stage.now += 1.0
    stage.draws()
    stage.now += TRIAL_S
    assert stage.draws()[A] == 1


def test_the_back_off_doubles_from_one_second_to_a_minute_with_jitter() -> None:
    health, now, waits = EndpointHealth(seeded(1)), 0.0, []
    for _ in range(10):
        assert health.failed(A, now)
        wait = next(tenth / 10 for tenth in range(1, 700) if health.is_usable(A, now + tenth / 10))
        waits.append(wait)
        now += wait
        health.chosen(A, now)
    longest = [1, 2, 4, 8, 16, 32, LAST_S, LAST_S, LAST_S, LAST_S]
    assert all(most / 2 <= wait <= most + 0.1 for wait, most in zip(waits, longest, strict=True)), waits
    assert len(set(waits[6:])) == 4, "and no two alike"


def test_those_who_waited_for_one_dial_tell_of_one_failure() -> None:
    stage = Stage(A, B)
    assert [stage.choice.failed(A) for _ in range(50)] == [True] + [False] * 49
    stage.now += 1.0
    assert A in stage.draws(), "fifty failures would be a minute"


def test_when_all_are_left_out_the_one_due_soonest_is_tried() -> None:
    stage = Stage(A, B, C)
    for end in (B, A, C):
        stage.choice.failed(end)
        stage.now += 0.1
    soonest = min((A, B, C), key=stage.choice.health._due)
    first = stage.draw()
    assert first == soonest
    assert {first, stage.draw(), stage.draw()} == {A, B, C}, "the next connection tries the next one"


def test_an_only_endpoint_is_tried_by_every_connection() -> None:
    stage = Stage(A)
    stage.choice.failed(A)
    assert stage.draws(10) == {A: 10}


def test_a_connection_that_failed_somewhere_goes_elsewhere_and_nowhere_twice() -> None:
    stage = Stage(A, B, C)
    tried: list[Endpoint] = [stage.draw()]
    while True:
        stage.choice.failed(tried[-1])
        other = stage.choice.other(stage.service, 80, HERE, tried)
        if other is None:
            break
        found = endpoint_of(other)
        assert found is not None
        tried.append(found)
    assert sorted(end.address for end in tried) == [A.address, B.address, C.address]


def test_a_pod_whose_tunnel_fails_is_left_out_at_all_its_ports_but_a_plaintext_port_is_itself() -> None:
    health = EndpointHealth(seeded(1))
    health.failed(A, 0)
    assert not health.is_usable(Endpoint(A.address, 9090, Transport.TUNNEL, A.identity, A.uid), 0)
    plain = pod(2, Transport.PLAINTEXT)
    health.failed(plain, 0)
    assert health.is_usable(Endpoint(plain.address, 9090, Transport.PLAINTEXT, None, plain.uid), 0)


def test_an_address_that_changes_hands_does_not_inherit_the_failure() -> None:
    stage = Stage(A, B)
    stage.choice.failed(A)
    successor = Endpoint(A.address, 8080, Transport.TUNNEL, SERVER_ID, "uid-new")
    stage.answer(successor, B)
    assert successor in stage.draws(20)


def test_who_is_no_endpoint_any_more_is_forgotten() -> None:
    stage = Stage(A, B)
    stage.choice.failed(A)
    stage.answer(B)
    stage.draw()
    stage.now += 2 * FORGET_S
    stage.draw()
    assert not stage.choice.health.absent


# --- drain


def test_an_endpoint_that_goes_away_takes_nothing_while_others_are_there() -> None:
    stage = Stage(A, B, C)
    stage.choice.leaving(B)
    assert B not in stage.draws()
    stage.now += LEAVING_S
    assert stage.draws()[B] == 1


def test_the_last_endpoint_takes_connections_though_it_goes_away() -> None:
    stage = Stage(B)
    stage.choice.leaving(B)
    assert stage.draw() == B


# --- affinity


def test_with_affinity_all_connections_go_to_one_endpoint() -> None:
    stage = Stage(*ALL, affinity=60)
    stage.load[A] = stage.load[B] = 50
    assert len(stage.draws()) == 1


def test_affinity_lasts_from_the_last_connection_on() -> None:
    stage = Stage(*ALL, affinity=60)
    first = stage.draw()
    for _ in range(10):
        stage.now += 59.9
        assert stage.draw() == first
    found = set()
    for _ in range(20):
        stage.now += 60
        found.add(stage.draw())
    assert len(found) > 1, "after a pause it is chosen anew"


def test_affinity_outlives_an_answer_that_still_has_the_endpoint_and_ends_with_one_that_has_not() -> None:
    stage = Stage(*ALL, affinity=60)
    first = stage.draw()
    stage.answer(*reversed(ALL))
    assert stage.draw() == first
    rest = tuple(end for end in ALL if end != first)
    stage.answer(*rest)
    second = stage.draw()
    stage.answer(*ALL)
    assert stage.draw() == second != first, "it does not return"


def test_affinity_moves_away_from_a_dead_endpoint_and_from_one_that_goes_away() -> None:
    stage = Stage(*ALL, affinity=60)
    first = stage.draw()
    stage.choice.failed(first)
    second = stage.draw()
    assert second != first
    stage.choice.leaving(second)
    assert stage.draw() not in (first, second)


def test_each_port_of_a_service_has_its_own_affinity_as_kube_proxy_has_it() -> None:
    pairs = set()
    for seed in range(20):
        stage = Stage(*ALL, affinity=60, seed=seed)
        stage.service = ServiceAddress(VIP, "shop/orders", {80: ALL, 81: ALL}, 60)
        pairs.add(stage.draw(80) == stage.draw(81))
    assert pairs == {True, False}


# --- locality


def local(number: int, node: str, *, terminating: bool = False) -> Endpoint:
    return pod(number, node=node, terminating=terminating)


def test_a_local_service_has_only_the_endpoints_of_the_pods_own_node() -> None:
    stage = Stage(local(1, "node-1"), local(2, "node-2"), local(3, "node-1"), local=True)
    assert {end.address for end in stage.draws()} == {"10.0.0.1", "10.0.0.3"}


@pytest.mark.parametrize(("place", "said"), [(HERE, "the node node-1"), (Place(), "no directory has named")])
def test_a_local_service_without_an_endpoint_on_the_node_refuses_and_says_so(place: Place, said: str) -> None:
    refusal = Stage(local(2, "node-2"), local(3, ""), local=True, place=place).refusal()
    assert refusal.reason == "no_local_endpoints"
    assert "shop/orders" in refusal.sentence
    assert said in refusal.sentence


ZONES = (pod(1, zones=("zone-a",)), pod(2, zones=("zone-b",)), pod(3, zones=("zone-b", "zone-a")))
NODES = (pod(1, nodes=("node-1",), zones=("zone-a",)), pod(2, nodes=("node-2",), zones=("zone-a",)))
LAST = (pod(1, terminating=True), pod(2, terminating=True))


@pytest.mark.parametrize(
    ("ends", "place", "reached"),
    [
        pytest.param(ALL, HERE, [1, 2, 3, 4, 5], id="no hints"),
        pytest.param(ZONES, HERE, [1, 3], id="zone hints"),
        pytest.param(ZONES, Place("node-1", "zone-c"), [1, 2, 3], id="no endpoint for our zone"),
        pytest.param(ZONES, Place("node-1"), [1, 2, 3], id="a node without a zone"),
        pytest.param((*ZONES, pod(4)), HERE, [1, 2, 3, 4], id="an endpoint without a hint"),
        pytest.param((*ZONES, pod(4, terminating=True)), HERE, [1, 3], id="one without a hint that is not ready"),
        pytest.param(NODES, HERE, [1], id="node hints come before zone hints"),
        pytest.param(NODES, Place("node-3", "zone-a"), [1, 2], id="no endpoint for our node, but for our zone"),
        pytest.param(LAST, HERE, [1, 2], id="only terminating ones"),
    ],
)
def test_hints_are_obeyed_as_kube_proxy_obeys_them(
    ends: tuple[Endpoint, ...], place: Place, reached: list[int]
) -> None:
    found = within_reach(ends, place, local=False)
    assert [end.address for end in found] == [f"10.0.0.{number}" for number in reached]


@pytest.mark.parametrize(
    ("ends", "reached"),
    [
        pytest.param([("node-1", False), ("node-1", True), ("node-2", False)], [1], id="ready ones come first"),
        pytest.param([("node-1", True), ("node-2", False)], [1], id="a terminating one here before a ready one there"),
        pytest.param([("node-2", False), ("node-2", True)], [], id="none here"),
    ],
)
def test_a_local_service_falls_back_to_terminating_endpoints_of_its_own_node(
    ends: list[tuple[str, bool]], reached: list[int]
) -> None:
    made = tuple(local(number, node, terminating=gone) for number, (node, gone) in enumerate(ends, 1))
    found = within_reach(made, HERE, local=True)
    assert [end.address for end in found] == [f"10.0.0.{number}" for number in reached]


def test_a_new_place_is_heard() -> None:
    stage = Stage(*ZONES)
    stage.draw()
    stage.place = Place("node-9", "zone-b")
    assert {end.address for end in stage.draws(100)} == {"10.0.0.2", "10.0.0.3"}


# --- ports and transports


def test_ports_are_the_services_own() -> None:
    stage = Stage()
    stage.service = ServiceAddress(VIP, "shop/orders", {80: (A,), 443: (B,), 9000: ()})
    assert (stage.draw(80), stage.draw(443)) == (A, B)
    assert (stage.refusal(9000).reason, stage.refusal(8080).reason) == ("no_endpoints", "no_such_port")


def test_a_service_with_nobody_of_ours_behind_it_is_left_to_kube_proxy() -> None:
    stage = Stage(pod(1, Transport.PLAINTEXT), Endpoint("192.0.2.1", 8080), affinity=60)
    assert stage.choice.route(stage.service, 80, HERE) == Plain(VIP, 80)


def test_endpoints_in_plaintext_beside_meshed_ones_have_their_part_and_their_back_off() -> None:
    plain = pod(9, Transport.PLAINTEXT)
    stage = Stage(A, plain)
    assert round(stage.draws()[plain] / DRAWS, 1) == 0.5
    assert stage.choice.route(ServiceAddress(VIP, "s", {80: (A, plain)}), 80, HERE) is not None
    stage.choice.failed(plain)
    assert plain not in stage.draws()
