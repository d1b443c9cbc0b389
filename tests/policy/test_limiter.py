"""Who is over a limit: exact buckets, clients apart from each other, and memory that stays bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.policy.effective import EffectivePolicy, Enforcement, EnforcementRule
from handfast_sidecar.policy.in_force import PolicyInForce
from handfast_sidecar.policy.limiter import SECOND, HandshakeLimit, Limiter, TokenBucket
from handfast_sidecar.policy.limits import UNLIMITED, Ceiling, Limits, Rate, Share
from handfast_sidecar.policy.verdict import Verdict

ORIGIN = "MTLSPolicy shop/orders"


class Clock:
    """Nanoseconds, turned by hand."""

    def __init__(self) -> None:
        self.now = 5 * SECOND

    def __call__(self) -> int:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)


class Pod:
    """A limiter, and connections that come and go."""

    def __init__(self, total: Share = UNLIMITED, client: Share = UNLIMITED, *, audit: bool = False) -> None:
        self.clock = Clock()
        self.limiter = Limiter(self.clock, max_clients=4)
        enforcement = Enforcement.AUDIT if audit else Enforcement.ENFORCE
        self.policy = EffectivePolicy(enforcement=EnforcementRule(enforcement, ORIGIN), limits=Limits(total, client))
        self._number = 0

    def dial(self, client: str = "cart", *, proven: bool = True) -> Verdict | None:
        self._number += 1
        return self.limiter.admit(self.policy, self._number, client, proven=proven)

    def dialled(self, client: str = "cart", *, proven: bool = True) -> int:
        assert self.dial(client, proven=proven) is None
        return self._number

    def refused(self, client: str = "cart", *, proven: bool = True) -> str:
        verdict = self.dial(client, proven=proven)
        assert verdict is not None
        assert (verdict.allowed, verdict.rule) == (False, ORIGIN)
        assert ORIGIN in verdict.sentence
        return verdict.reason


def ceiling(connections: int) -> Share:
    return Share(connections=Ceiling(connections, ORIGIN))


def rate(per_second: int, burst: int) -> Share:
    return Share(rate=Rate(per_second, burst, ORIGIN))


@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.lists(st.integers(0, 3 * SECOND), min_size=1, max_size=200),
)
def test_no_window_ever_sees_more_than_the_burst_and_its_time_at_the_rate(
    per_second: int, burst: int, pauses: list[int]
) -> None:
    limit, now, taken = Rate(per_second, burst, ORIGIN), 0, []
    bucket = TokenBucket(limit, now)
    for pause in pauses:
        now += pause
        while bucket.has_one(limit, now):
            bucket.take()
            taken.append(now)
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            window = taken[last] - start
            assert (last - first + 1) * SECOND <= burst * SECOND + window * per_second


@given(st.integers(1, 50), st.integers(1, 50))
def test_after_a_silence_the_whole_burst_is_there_and_then_one_each_fraction(per_second: int, burst: int) -> None:
    limit = Rate(per_second, burst, ORIGIN)
    bucket = TokenBucket(limit, 0)
    for _ in range(burst):
        assert bucket.has_one(limit, 0)
        bucket.take()
    assert not bucket.has_one(limit, 0)
    each = -(-SECOND // per_second)
    assert not bucket.has_one(limit, each - 1)
    assert bucket.has_one(limit, each)


def test_connections_count_until_they_end() -> None:
    pod = Pod(ceiling(2))
    first = pod.dialled()
    pod.dialled()
    assert pod.refused() == "limit_connections"
    pod.limiter.ended(first)
    pod.dialled()
    assert pod.refused() == "limit_connections"


def test_a_refused_connection_that_ends_gives_nothing_back() -> None:
    pod = Pod(ceiling(1))
    pod.dialled()
    assert pod.refused() == "limit_connections"
    pod.limiter.ended(2)
    assert pod.refused() == "limit_connections"


def test_a_client_over_its_limits_leaves_the_others_theirs() -> None:
    pod = Pod(Share(Ceiling(4, ORIGIN), Rate(1, 4, ORIGIN)), ceiling(2))
    pod.dialled("flood")
    pod.dialled("flood")
    assert {pod.refused("flood") for _ in range(1000)} == {"limit_client_connections"}
    pod.dialled("cart")
    pod.dialled("cart")
    assert pod.refused("web") == "limit_connections"


def test_a_client_over_its_rate_takes_no_token_of_the_others() -> None:
    pod = Pod(rate(1, 3), rate(1, 1))
    pod.dialled("flood")
    assert {pod.refused("flood") for _ in range(1000)} == {"limit_client_rate"}
    pod.dialled("cart")
    pod.dialled("web")
    assert pod.refused("bill") == "limit_rate"
    pod.clock.wait(1)
    pod.dialled("bill")


def test_who_is_refused_for_all_is_not_charged_for_himself() -> None:
    pod = Pod(rate(1, 1), rate(1, 1))
    pod.dialled("cart")
    assert pod.refused("web") == "limit_rate"
    pod.clock.wait(1)
    pod.dialled("web")


def test_an_address_and_an_identity_of_one_name_are_two_clients() -> None:
    pod = Pod(client=ceiling(1))
    pod.dialled("x", proven=True)
    pod.dialled("x", proven=False)
    assert pod.refused("x", proven=False) == "limit_client_connections"


def test_a_limit_that_is_lowered_refuses_new_ones_until_enough_have_ended() -> None:
    pod = Pod(ceiling(3))
    numbers = [pod.dialled() for _ in range(3)]
    pod.policy = EffectivePolicy(limits=Limits(ceiling(1)))
    for number in numbers:
        assert pod.refused() == "limit_connections"
        pod.limiter.ended(number)
    pod.dialled()


def test_what_was_open_before_there_was_a_limit_counts() -> None:
    pod = Pod(ceiling(2), ceiling(1))
    pod.limiter.follow(pod.policy, [(100, "cart", True)])
    assert pod.refused("cart") == "limit_client_connections"
    pod.dialled("web")
    assert pod.refused("bill") == "limit_connections"
    pod.limiter.ended(100)
    pod.dialled("cart")


def test_asking_twice_of_one_connection_counts_it_once() -> None:
    pod = Pod(ceiling(2))
    number = pod.dialled()
    assert pod.limiter.admit(pod.policy, number, "cart", proven=True) is None
    assert pod.limiter.open == 1


def test_audit_lets_it_pass_tells_of_it_and_counts_it() -> None:
    pod = Pod(ceiling(1), audit=True)
    pod.dialled()
    verdict = pod.dial()
    assert verdict is not None
    assert (verdict.allowed, verdict.audited, verdict.reason) == (True, True, "limit_connections")
    assert pod.limiter.open == 2


def test_an_audited_connection_does_not_refill_its_clients_bucket() -> None:
    pod = Pod(client=rate(1, 1), audit=True)
    pod.dialled()
    assert all(pod.dial() is not None for _ in range(3))


def test_more_busy_clients_than_are_told_apart_share_one_clients_part() -> None:
    pod = Pod(client=ceiling(1))
    for number in range(4):
        pod.dialled(f"10.0.0.{number}", proven=False)
    pod.dialled("10.0.1.0", proven=False)
    assert pod.refused("10.0.1.1", proven=False) == "limit_client_connections"
    pod.dialled("cart")
    assert pod.limiter.clients == 5


def test_a_client_whose_bucket_is_not_full_is_not_forgotten_for_another() -> None:
    pod = Pod(client=rate(1, 2))
    pod.limiter.ended(pod.dialled("first", proven=False))
    for number in range(3):
        pod.limiter.ended(pod.dialled(f"10.0.0.{number}", proven=False))
    pod.limiter.ended(pod.dialled("10.0.0.3", proven=False))
    assert pod.limiter.clients == 4
    pod.dialled("first", proven=False)
    assert pod.refused("first", proven=False) == "limit_client_rate"
    pod.clock.wait(2)
    pod.dialled("10.0.0.4", proven=False)
    assert pod.limiter.clients == 2, "those that are idle again made room; `first` has a connection"


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.booleans()), max_size=300))
def test_clients_come_and_go_and_the_table_stays_bounded_and_exact(steps: list[tuple[int, bool, bool]]) -> None:
    pod = Pod(client=rate(1000, 1000))
    open_now: list[int] = []
    for number, proven, end in steps:
        open_now.append(pod.dialled(str(number), proven=proven))
        if end:
            pod.limiter.ended(open_now.pop(0))
        assert pod.limiter.clients <= 8
        assert pod.limiter.open == len(open_now)
        pod.clock.wait(0.5)


@pytest.mark.parametrize("audit", [False, True])
def test_handshakes_over_the_limit_are_told_of(audit: bool) -> None:
    clock = Clock()
    enforcement = EnforcementRule(Enforcement.AUDIT if audit else Enforcement.ENFORCE)
    limits = Limits(handshakes=Rate(2, 2, ORIGIN))
    limit = HandshakeLimit(PolicyInForce(EffectivePolicy(enforcement=enforcement, limits=limits), 1), clock)
    assert [limit.over(), limit.over()] == [None, None]
    verdict = limit.over()
    assert verdict is not None
    assert (verdict.allowed, verdict.reason, verdict.rule) == (audit, "limit_handshakes", ORIGIN)
    clock.wait(0.5)
    assert limit.over() is None


def test_without_a_limit_any_number_of_handshakes_may_begin() -> None:
    limit = HandshakeLimit(PolicyInForce(EffectivePolicy(), 1), Clock())
    assert all(limit.over() is None for _ in range(1000))
