"""A clock that is wrong by three minutes on one side hurts nobody whose leaf lives for an hour or more.

The controller's, a sidecar's own and its peer's: each side's OpenSSL verifies by its own clock, in real handshakes.
"""

import socket
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from OpenSSL import SSL

from handfast_operator.authority.authority import Authority, AuthoritySet
from handfast_operator.authority.leaf import LeafRequest, issue
from handfast_operator.authority.root import make_root
from handfast_operator.authority.schedule import renew_at
from handfast_operator.authority.state import AuthorityState
from handfast_sidecar.identity.contexts import build_contexts, verify_failure
from handfast_sidecar.identity.material import Material, parse_material
from handfast_sidecar.identity.reload import IdentityKeeper
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.tunnel import renewal
from support.pki import plain_config, project

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
WRONG = 3 * MINUTE
PROJECTION = timedelta(seconds=100)
CONFIG = plain_config()
nobody_else = pytest.mark.parametrize("wrong", [WRONG, -WRONG], ids=["ahead", "behind"])


@dataclass
class Cluster:
    """A root, and a controller whose clock is off by so much."""

    off: timedelta = timedelta(0)
    ttl: timedelta = HOUR
    authorities: AuthoritySet = field(init=False)

    def __post_init__(self) -> None:
        root = make_root("test.example", NOW + self.off)
        active = Authority("handfast-authority-1", "test.example", AuthorityState.ACTIVE, root.certificate, root.key)
        self.authorities = AuthoritySet("test.example", (active,))

    def files(self, uid: str, at: datetime) -> dict[str, bytes]:
        request = LeafRequest(SpiffeId.parse("spiffe://test.example/ns/shop/sa/cart"), "cart-0", uid, self.ttl)
        leaf = issue(self.authorities.active, request, at + self.off)
        bundle, config = self.authorities.bundle_pem, CONFIG.dump().encode()
        return {"tls.crt": leaf.chain_pem, "tls.key": leaf.key_pem, "ca.crt": bundle, "config.json": config}

    def material(self, uid: str, at: datetime) -> Material:
        return parse_material(*self.files(uid, at).values())


def verdicts(client: Material, server: Material, client_now: datetime, server_now: datetime) -> list[str]:
    """What each side found wrong with the other in one handshake, each by its own clock."""
    contexts = build_contexts(client).client, build_contexts(server).server
    for context, now in zip(contexts, (client_now, server_now), strict=True):
        store = context.get_cert_store()
        assert store is not None
        store.set_time(now)
    near, far = socket.socketpair()
    sides = [SSL.Connection(context, sock) for context, sock in zip(contexts, (near, far), strict=True)]
    sides[0].set_connect_state()
    sides[1].set_accept_state()

    def shake(side: SSL.Connection, sock: socket.socket) -> None:
        try:
            side.do_handshake()
        except SSL.Error:
            sock.shutdown(socket.SHUT_WR)

    with near, far:
        thread = threading.Thread(target=shake, args=(sides[1], far))
        thread.start()
        shake(sides[0], near)
        thread.join(10)
    found = [verify_failure(side) for side in sides]
    return [each.reason for each in found if each is not None]


def latest_renewal(ttl: timedelta) -> timedelta:
    """When the successor of a leaf is in use at the latest."""
    return max(renew_at(NOW, NOW + ttl, f"uid-{number}") - NOW for number in range(200)) + PROJECTION


@nobody_else
@pytest.mark.parametrize("whose", ["controller", "client", "server"])
@pytest.mark.parametrize("age", [timedelta(0), latest_renewal(HOUR)], ids=["just issued", "as old as it gets"])
def test_two_pods_meet_whoevers_clock_is_wrong(wrong: timedelta, whose: str, age: timedelta) -> None:
    cluster = Cluster(wrong if whose == "controller" else timedelta(0))
    client, server = cluster.material("uid-1", NOW), cluster.material("uid-2", NOW)
    at = NOW + age
    client_now = at + wrong if whose == "client" else at
    server_now = at + wrong if whose == "server" else at
    assert verdicts(client, server, client_now, server_now) == []


def test_a_clock_that_is_more_than_four_minutes_behind_is_told_of() -> None:
    """So this page measures something: the backdating is what bears the difference."""
    cluster = Cluster()
    client, server = cluster.material("uid-1", NOW), cluster.material("uid-2", NOW)
    assert verdicts(client, server, NOW - 5 * MINUTE, NOW) == ["not_yet_valid"]
    assert verdicts(client, server, NOW, NOW + HOUR + MINUTE) == ["expired"]


@nobody_else
@pytest.mark.parametrize("whose", ["controller", "its own"])
def test_a_sidecar_takes_each_leaf_over_at_once_and_finds_nothing_wrong(
    tmp_path: Path, wrong: timedelta, whose: str
) -> None:
    cluster = Cluster(wrong if whose == "controller" else timedelta(0))
    now = NOW
    keeper = IdentityKeeper(tmp_path, Registry(), clock=lambda: now + (wrong if whose == "its own" else timedelta(0)))
    project(tmp_path, cluster.files("uid-1", now))
    keeper.load_first()
    assert keeper.trouble() == ""
    for _ in range(10):
        now += latest_renewal(HOUR) - PROJECTION
        files = cluster.files("uid-1", now)
        now += PROJECTION
        assert keeper.trouble() == ""
        project(tmp_path, files)
        assert keeper.look()


@nobody_else
@pytest.mark.parametrize("ttl", [HOUR, 24 * HOUR, 30 * 24 * HOUR], ids=["1 hour", "24 hours", "30 days"])
def test_a_tunnel_is_renewed_before_it_ends_by_either_sides_clock(wrong: timedelta, ttl: timedelta) -> None:
    """Both leaves were issued together; the client asks again until both have a newer one."""
    expires = renewal.expiry(NOW + ttl, NOW + ttl)
    ends = min(expires, expires - wrong)  # by the clock of the one whose is ahead
    newer_from = NOW + latest_renewal(ttl)
    now = renewal.renew_at(NOW + wrong, expires) - wrong
    tries = 1
    while now < newer_from:
        now = renewal.retry_at(now + wrong, expires) - wrong
        tries += 1
    assert now + 5 * MINUTE < ends
    assert tries < 10


@nobody_else
def test_whoever_is_told_of_a_session_or_a_tunnel_ends_it_late_enough_for_the_next_leaf(wrong: timedelta) -> None:
    """The directory's session and a foreign peer's connection end by what is left of a leaf, by the server's clock."""
    for ttl in (HOUR, 24 * HOUR):
        left = NOW + ttl - (NOW + wrong)
        assert left > latest_renewal(ttl) + 5 * MINUTE
