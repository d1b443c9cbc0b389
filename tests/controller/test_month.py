"""A month of renewals while the API server comes and goes: nobody is ever without a leaf that is valid.

Judged by the file that the sidecar reads: what is written reaches it as late as kubelet may bring it (100 s).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handfast_operator.authority.authority import Authority, AuthoritySet
from handfast_operator.authority.leaf import LeafRequest, issue
from handfast_operator.authority.root import make_root
from handfast_operator.authority.schedule import renew_at, retry_after
from handfast_operator.authority.state import AuthorityState
from handfast_operator.cluster.client import ApiError
from handfast_operator.controller.agenda import RESYNC
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import Mode
from support.issuing import ORDERS, PATH, World
from support.virtual_time import START

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MONTH = 30 * DAY
PROJECTION = timedelta(seconds=100)
TTLS = {"5 minutes": 5 * MINUTE, "1 hour": HOUR, "24 hours": DAY, "30 days": MONTH}
"""From the shortest to the longest that a policy may ask for."""


@dataclass
class Pod:
    """One pod's leaf by the schedule alone: what `Issuer` does about it, without a Secret."""

    uid: str
    ttl: timedelta
    now: datetime = START
    issued: list[datetime] = field(default_factory=list)
    attempts: int = 0

    def live(self, until: datetime, away: Sequence[tuple[datetime, datetime]]) -> None:
        """Renew until then, while the API server is away for these spans."""
        self.issued.append(self.now)
        while self.now < until:
            due = renew_at(self.issued[-1], self.ends, self.uid)
            failures = 0
            while any(begin <= due < end for begin, end in away):
                failures += 1
                due += min(retry_after(failures, self.ends - due), RESYNC)
            self.attempts += failures + 1
            self.now = due
            self.issued.append(due)

    @property
    def ends(self) -> datetime:
        return self.issued[-1] + self.ttl

    def margins(self) -> list[timedelta]:
        """What was left of each leaf when its successor was written."""
        return [first + self.ttl - second for first, second in zip(self.issued, self.issued[1:], strict=False)]


def spans(
    outages: Sequence[tuple[float, float]], longest: timedelta, rest: timedelta
) -> list[tuple[datetime, datetime]]:
    """Outages one after the other, each with a part of `rest` before it: whoever is away recovers before the next."""
    found, at = [], START
    for before, length in outages:
        begin = at + rest * (0.5 + before)
        at = begin + longest * length
        found.append((begin, at))
    return found


outages = st.lists(st.tuples(st.floats(0, 2), st.floats(0, 1)), max_size=40)


@pytest.mark.parametrize("ttl", [HOUR, DAY, MONTH], ids=["1 hour", "24 hours", "30 days"])
@given(uid=st.uuids().map(str), away=outages)
@settings(max_examples=60, deadline=None)
def test_half_a_life_without_an_api_server_costs_nobody_a_leaf_and_kubelet_has_its_time(
    ttl: timedelta, uid: str, away: list[tuple[float, float]]
) -> None:
    found = Pod(uid, ttl)
    found.live(START + MONTH, spans(away, ttl / 2, ttl))
    assert min(found.margins()) > PROJECTION


@given(uid=st.uuids().map(str), away=outages)
@settings(max_examples=60, deadline=None)
def test_at_the_shortest_life_the_next_leaf_is_written_in_time_and_read_in_time_after_a_minute(
    uid: str, away: list[tuple[float, float]]
) -> None:
    """Half of five minutes is more than kubelet leaves: with it, an outage of a minute is what is borne."""
    for longest, needed in ((5 * MINUTE / 2, timedelta(0)), (MINUTE, PROJECTION)):
        found = Pod(uid, 5 * MINUTE)
        found.live(START + DAY, spans(away, longest, 5 * MINUTE))
        assert min(found.margins()) > needed


@pytest.mark.parametrize("ttl", TTLS.values(), ids=TTLS)
def test_an_outage_is_no_storm(ttl: timedelta) -> None:
    """Attempts in half a life without an API server: seconds apart at first, then further and further."""
    for number in range(50):
        found = Pod(f"uid-{number}", ttl)
        begin = START + ttl / 4
        found.live(START + ttl / 2, [(begin, begin + ttl / 2)])
        assert found.attempts <= 30 + ttl / 2 / RESYNC


def test_no_two_leaves_of_a_month_share_a_key() -> None:
    root = make_root("test.example", START)
    active = Authority("handfast-authority-1", "test.example", AuthorityState.ACTIVE, root.certificate, root.key)
    authorities = AuthoritySet("test.example", (active,))
    request = LeafRequest(SpiffeId.parse("spiffe://test.example/ns/shop/sa/cart"), "cart-0", "uid-1", HOUR)
    found = Pod("uid-1", HOUR)
    found.live(START + MONTH, [])
    leaves = [issue(authorities.active, request, at) for at in found.issued]
    assert len({leaf.key_pem for leaf in leaves}) == len({leaf.serial for leaf in leaves}) == len(leaves) > 1000


@pytest.mark.parametrize("ttl", [5 * MINUTE, HOUR, DAY], ids=["5 minutes", "1 hour", "24 hours"])
async def test_the_issuer_itself_comes_through_outages_at_the_worst_moments(ttl: timedelta) -> None:
    """Each begins just before the renewal is due, and lasts for half of the leaf's life."""
    world = World()
    world.apply(Mode.PERMISSIVE, 700, ttl=ttl)
    keys = set()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle()
        for _ in range(2):
            before = world.material()
            keys.add(world.api.objects[PATH]["data"]["tls.key"])
            due = datetime.fromisoformat(world.api.objects[PATH]["metadata"]["annotations"]["handfast.dev/renew-at"])
            await world.settle(due - world.time.now() - timedelta(seconds=1))
            assert world.material().leaf == before.leaf
            world.api.failures = [ApiError(503, "ServiceUnavailable", "away")] * 10_000
            await world.settle(ttl / 2)
            assert world.material().leaf == before.leaf
            world.api.failures = []
            await world.settle((before.leaf.not_after - world.time.now()) / 2)
            assert world.material().leaf.serial != before.leaf.serial, "renewed while the one before was valid"
    assert len(keys) == 2
