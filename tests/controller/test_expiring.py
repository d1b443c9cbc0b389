"""Certificates that end and were not replaced: told once per threshold, counted, and silent while all is well."""

from dataclasses import replace
from datetime import datetime, timedelta

from handfast_operator.authority.authority import Authority, AuthoritySet
from handfast_operator.authority.expiring import Life
from handfast_operator.authority.root import make_root
from handfast_operator.authority.schedule import BACKDATE, renew_at
from handfast_operator.authority.state import AuthorityState
from handfast_operator.cluster.objects import Pod, SecretMeta
from handfast_operator.cluster.store import Store
from handfast_operator.controller.events import Regarding
from handfast_operator.controller.expiring import MOST_TOLD, Expiring, ExpiringSources
from handfast_operator.evidence.view import EvidenceView, PodReport
from handfast_operator.resources.times import format_time
from handfast_sidecar.observe.metrics import Registry
from support.objects import pod
from support.virtual_time import START, VirtualTime

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ORDERS = pod("shop", "orders")
OLD = START - 2 * DAY
TRUST_DOMAIN = Regarding("handfast.dev/v1alpha1", "TrustDomain", "", "cluster.local", "uid-td")


def authority(
    number: int, made: datetime = START, state: AuthorityState = AuthorityState.ACTIVE, source: str = ""
) -> Authority:
    root = make_root("cluster.local", made)
    name = f"handfast-authority-{number}"
    return Authority(name, "cluster.local", state, root.certificate, root.key, source=source)


def secret(of: Pod, issued: datetime, ttl: timedelta = DAY, serial: str = "1f") -> SecretMeta:
    """As the controller writes it."""
    said = {
        "serial": serial,
        "issued-at": format_time(issued),
        "not-after": format_time(issued + ttl),
        "renew-at": format_time(renew_at(issued, issued + ttl, of.uid)),
    }
    annotations = {f"handfast.dev/{name}": value for name, value in said.items()}
    return SecretMeta(of.namespace, of.secret, f"uid-{of.secret}", 1, {}, annotations, (of.uid,), ())


def report(of: Pod, issued: datetime, serial: str) -> PodReport:
    """Of a sidecar that runs with a leaf of a day."""
    start, end = format_time(issued - BACKDATE), format_time(issued + DAY)
    return PodReport(f"{of.namespace}/{of.name}", "", 0.0, serial, end, "", 1, (), start)


class World:
    """A cluster at a time that the test sets."""

    def __init__(self, *authorities: Authority) -> None:
        self.pods: Store[Pod] = Store()
        self.secrets: Store[SecretMeta] = Store()
        self.time, self.registry = VirtualTime(), Registry()
        self.authorities = AuthoritySet("cluster.local", authorities or (authority(1),))
        self.reports: dict[str, PodReport] = {}
        self.failures: dict[str, str] = {}
        self.revoked: dict[str, str] = {}
        self.serving: dict[str, Life] = {}
        self.said: list[tuple[str, str, str]] = []
        self.again()

    def again(self) -> None:
        """The controller starts."""
        sources = ExpiringSources(
            lambda: self.authorities,
            lambda: EvidenceView(0.0, pods=self.reports),
            lambda pod: self.failures.get(pod.name, ""),
            lambda: (self.serving, ""),
            lambda: TRUST_DOMAIN,
            revoked=lambda pod: self.revoked.get(pod.name, ""),
        )
        self.expiring = Expiring(
            self.pods,
            self.secrets,
            sources,
            say=lambda regarding, _kind, reason, note: self.said.append((regarding.name, reason, note)),
            registry=self.registry,
            time=self.time,
        )

    def put(self, of: Pod, meta: SecretMeta) -> None:
        self.pods.put(of)
        self.secrets.put(meta)

    async def at(self, when: datetime) -> list[tuple[str, str]]:
        """Of whom something is said at that time, and why."""
        await self.time.advance(when - self.time.now())
        del self.said[:]
        await self.expiring.look()
        return [(name, reason) for name, reason, _ in self.said]

    def count(self, of: str, within: str) -> float:
        return self.registry.gauge("handfast_certificates_expiring", "", ("of", "within")).labels(of, within).read()


async def test_nothing_is_said_while_all_is_well() -> None:
    world = World()
    world.put(ORDERS, secret(ORDERS, START))
    world.serving["webhook"] = Life(START, START + 7 * DAY)
    assert [await world.at(START + each * HOUR) for each in (0, 6, 12)] == [[], [], []]


async def test_a_leaf_that_nobody_renewed_is_told_once_at_each_threshold_with_the_cause() -> None:
    world = World()
    world.put(ORDERS, secret(ORDERS, START))
    world.failures["orders"] = "Forbidden: a quota is used up"
    found = [await world.at(START + timedelta(hours=each)) for each in (15, 17.5, 18, 20.5, 21, 24, 25)]
    assert [[reason for _, reason in each] for each in found] == [
        [], ["LeafExpiring"], [], ["LeafExpiring"], [], ["LeafExpired"], []
    ]  # fmt: skip
    world.again()
    assert await world.at(START + 26 * HOUR) == [("orders", "LeafExpired")], "a restart tells it once more"
    assert "a quota is used up" in world.said[0][2]
    assert await world.at(START + 27 * HOUR) == []


async def test_counts_follow_what_is_and_labels_do_not_grow_with_pods() -> None:
    world = World()
    for number in range(30):
        each = pod("shop", f"orders-{number}")
        world.put(each, secret(each, START, serial=f"{number:x}"))
    await world.at(START + 18 * HOUR)
    assert (world.count("leaf", "third"), world.count("leaf", "sixth")) == (30, 0)
    await world.at(START + 21 * HOUR)
    assert (world.count("leaf", "third"), world.count("leaf", "sixth")) == (0, 30)
    series = [line for line in world.registry.render().splitlines() if line.startswith("handfast_certificates_exp")]
    assert len(series) == 12
    for each in list(world.pods):
        world.put(each, secret(each, START + 21 * HOUR))
    assert await world.at(START + 21 * HOUR + MINUTE) == []
    assert (world.count("leaf", "third"), world.count("leaf", "sixth")) == (0, 0)


async def test_a_sidecar_that_still_runs_with_the_old_leaf_is_told_of_and_the_secret_is_named() -> None:
    world = World()
    world.put(ORDERS, secret(ORDERS, START + 14 * HOUR, serial="new"))
    world.reports[ORDERS.uid] = report(ORDERS, START, "old")
    assert await world.at(START + 15 * HOUR) == [], "the old one has more than a third left"
    assert await world.at(START + 18 * HOUR) == [("orders", "LeafExpiring")]
    assert f"the Secret shop/{ORDERS.secret} has had a new one since 2026-03-02T02:00:00Z" in world.said[0][2]
    world.reports[ORDERS.uid] = report(ORDERS, START + 14 * HOUR, "new")
    assert await world.at(START + 21 * HOUR) == []


async def test_kubelet_is_given_time_to_bring_a_new_leaf() -> None:
    world = World()
    world.put(ORDERS, secret(ORDERS, START + 18 * HOUR, serial="new"))
    world.reports[ORDERS.uid] = report(ORDERS, START, "old")
    assert await world.at(START + 18 * HOUR + MINUTE) == []
    assert await world.at(START + 18 * HOUR + 3 * MINUTE) == [("orders", "LeafExpiring")]


async def test_pods_that_ended_and_secrets_of_others_are_not_told_of() -> None:
    world = World()
    ended, going = replace(ORDERS, phase="Succeeded"), replace(pod("shop", "cart"), deleting=True)
    taken = pod("shop", "taken")
    for each in (ended, going):
        world.put(each, secret(each, START))
    world.put(taken, replace(secret(taken, START), owner_uids=("another",)))
    assert await world.at(START + 25 * HOUR) == []


async def test_a_leaf_of_a_revoked_identity_is_meant_to_end() -> None:
    world = World()
    world.put(ORDERS, secret(ORDERS, START))
    world.revoked["orders"] = "it was broken into"
    assert await world.at(START + 21 * HOUR) == []
    assert world.count("leaf", "sixth") == 0


async def test_a_root_that_is_not_replaced_is_told_of_on_the_trust_domain() -> None:
    world = World()
    assert await world.at(START + 60 * DAY) == []
    assert await world.at(START + 62 * DAY) == [("cluster.local", "AuthorityExpiring")]
    assert "begin one with `handfast rotate`" in world.said[0][2]
    assert world.count("authority", "third") == 1
    coming = authority(2, START + 61 * DAY, AuthorityState.DISTRIBUTED)
    world.authorities = replace(world.authorities, authorities=(*world.authorities.authorities, coming))
    assert await world.at(START + 63 * DAY) == []
    assert world.count("authority", "third") == 0
    world.authorities = replace(world.authorities, authorities=world.authorities.authorities[:1])
    assert await world.at(START + 64 * DAY) == [("cluster.local", "AuthorityExpiring")], "the rotation was taken back"
    world.authorities = replace(world.authorities, authorities=(*world.authorities.authorities, coming))
    assert await world.at(START + 76 * DAY) == [("cluster.local", "AuthorityExpiring")]
    assert "names who is waited for" in world.said[0][2]


async def test_a_retired_root_is_nobodys_concern() -> None:
    world = World(authority(1, OLD, AuthorityState.RETIRED), authority(2, START + 80 * DAY))
    assert await world.at(START + 100 * DAY) == []


async def test_an_external_issuer_is_told_of_as_one() -> None:
    world = World(authority(1, source="ab" * 32))
    assert await world.at(START + 76 * DAY) == [("cluster.local", "IssuerExpiring")]
    assert "nobody has renewed it in its Secret" in world.said[0][2]


async def test_the_operators_own_certificate_is_told_of() -> None:
    world = World()
    world.serving["webhook"] = Life(START, START + 7 * DAY)
    assert await world.at(START + 5 * DAY) == [("cluster.local", "ServingCertificateExpiring")]
    assert world.count("serving", "third") == 1


async def test_the_end_of_each_root_is_a_metric_that_goes_with_it() -> None:
    world = World(authority(1, START), authority(2, START + DAY, AuthorityState.DISTRIBUTED))
    await world.at(START + HOUR)
    ends = [line for line in world.registry.render().splitlines() if line.startswith("handfast_authority_exp")]
    assert [line.split()[0] for line in ends] == [
        'handfast_authority_expiration_timestamp_seconds{root="handfast-authority-1",state="Active",source="selfSigned"}',
        'handfast_authority_expiration_timestamp_seconds{root="handfast-authority-2",state="Distributed",source="selfSigned"}',
    ]
    assert float(ends[0].split()[1]) == (START + 90 * DAY).timestamp()
    world.authorities = AuthoritySet("cluster.local", ())
    await world.at(START + 2 * HOUR)
    ends = [line for line in world.registry.render().splitlines() if line.startswith("handfast_authority_exp")]
    assert ends == ['handfast_authority_expiration_timestamp_seconds{root="none",state="Active",source=""} 0']


async def test_where_nothing_is_renewed_those_are_told_first_that_end_first_and_all_in_the_end() -> None:
    world = World()
    pods = [pod("shop", f"orders-{number}") for number in range(MOST_TOLD + 100)]
    for number, each in enumerate(pods):
        world.put(each, secret(each, START - number * timedelta(seconds=1), serial=f"{number:x}"))
    first = await world.at(START + 18 * HOUR)
    second = await world.at(START + 18 * HOUR + MINUTE)
    assert (len(first), first[0][0]) == (MOST_TOLD, f"orders-{MOST_TOLD + 99}")
    assert len(second) == 100
    assert await world.at(START + 18 * HOUR + 2 * MINUTE) == []
