"""Who is revoked now, in the processes that tell everybody."""

from datetime import timedelta

from handfast_operator.cluster.store import Store
from handfast_operator.controller.revoked import RevokedNow
from handfast_operator.resources.revocation import parse_revoked
from handfast_operator.resources.times import format_time
from handfast_operator.resources.trust_domain import TrustDomain
from handfast_sidecar.identity.revocation import Revocation
from handfast_sidecar.identity.spiffe import SpiffeId
from support.revocations import trust_domain
from support.virtual_time import START, VirtualTime

THIEF = "spiffe://cluster.local/ns/shop/sa/thief"
MINUTE = timedelta(minutes=1)


class World:
    def __init__(self) -> None:
        self.time = VirtualTime()
        self.store = Store[TrustDomain]()
        self.revoked = RevokedNow("cluster.local", self.store, self.time)
        self.told: list[int] = []
        self.revoked.subscribe(lambda: self.told.append(len(self.revoked.current.entries)))


def test_entries_are_read_as_people_write_them() -> None:
    read = parse_revoked(
        [
            {"identity": THIEF, "reason": "stolen"},
            {"serial": "0A1B", "reason": "lost", "until": "2026-03-01T12:00:00Z"},
            {"identity": "nobody", "reason": "cannot be read"},
            {"serial": "1f", "reason": "a time that is none", "until": "soon"},
        ]
    )
    assert read == (
        Revocation(SpiffeId.parse(THIEF), reason="stolen"),
        Revocation(serial="a1b", reason="lost", until=int(START.timestamp())),
        Revocation(serial="1f", reason="a time that is none"),
    )


async def test_an_entry_ends_at_its_time_and_not_before() -> None:
    world = World()
    end = format_time(START + 5 * MINUTE)
    world.store.put(trust_domain("cluster.local", {"identity": THIEF}, {"serial": "1f", "until": end}))
    assert world.told == [2]
    await world.time.advance(5 * MINUTE - timedelta(seconds=1))
    assert world.told == [2]
    await world.time.advance(timedelta(seconds=1))
    assert world.told == [2, 1]


async def test_a_change_of_something_else_is_no_news() -> None:
    world = World()
    for _ in range(3):
        world.store.put(trust_domain("cluster.local", {"identity": THIEF}))
    world.store.put(trust_domain("other.example"))
    assert world.told == [1]


async def test_a_trust_domain_that_was_deleted_lets_nobody_in_again() -> None:
    world = World()
    world.store.put(trust_domain("cluster.local", {"identity": THIEF}))
    world.store.remove(("", "cluster.local"), 9999)
    assert len(world.revoked.current.entries) == 1
    before = world.revoked.current.revision
    world.store.put(trust_domain("cluster.local"))
    assert world.told == [1, 0]
    assert world.revoked.current.revision > before
