"""What a policy of mode `Auto` says of itself, and that it says nothing new while nothing is."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from handfast_operator.policy.plaintext import MOST_LISTED, Clients, PlaintextClient
from handfast_operator.policy.promotion import PodSight, Sight, start, step
from handfast_operator.policy.promotion_report import NOTHING, Report, next_list, report
from handfast_operator.resources.promotion import Promotion, parse_promotion
from support.virtual_time import START

AFTER = timedelta(hours=24)
ORDERS = "shop/orders-1"


def at(hours: float = 0, seconds: float = 0) -> datetime:
    return START + timedelta(hours=hours, seconds=seconds)


def client(last_seen: datetime, name: str = "deployment/cart") -> PlaintextClient:
    return PlaintextClient("shop", name, 8080, last_seen)


@dataclass
class Telling:
    """One policy over time, and what it said."""

    said: Report | None = None
    reports: list[Report] = field(default_factory=list)
    promotion: Promotion = field(default_factory=Promotion)

    def __post_init__(self) -> None:
        self.clock = start(self.promotion, START)

    def look(
        self, now: datetime, *clients: PlaintextClient, silent: str = "", pods: tuple[str, ...] = (ORDERS,)
    ) -> Report:
        sights = [PodSight(name, START, START if name == silent else now) for name in pods]
        sight = Sight(sights, max((each.last_seen for each in clients), default=None))
        self.clock = step(self.clock, now, sight, AFTER)
        seen = Clients(clients[:MOST_LISTED], len(clients))
        said = report(self.clock, now, sight, seen, AFTER, self.said)
        if said != self.said:
            self.reports.append(said)
        self.said = said
        return said

    def words(self, now: datetime, *clients: PlaintextClient) -> tuple[bool, str, str]:
        condition = self.look(now, *clients).condition
        return condition.status, condition.reason, condition.message


def test_while_it_waits_it_says_until_when() -> None:
    assert Telling().words(at(1)) == (
        False,
        "WaitingForQuiet",
        "No plaintext is seen: Strict at 2026-03-02T12:00:00Z, unless a client without a sidecar connects.",
    )


def test_while_plaintext_comes_it_says_from_whom() -> None:
    clients = [client(at(1), f"deployment/{name}") for name in ("cart", "mail", "web", "x", "y")]
    assert Telling().words(at(1), *clients) == (
        False,
        "PlaintextSeen",
        (
            "Plaintext comes from shop/deployment/cart (port 8080), shop/deployment/mail (port 8080), "
            "shop/deployment/web (port 8080) and 2 more: give these clients a sidecar. Strict 24h after the last of it."
        ),
    )


def test_while_a_sidecar_is_silent_it_says_which() -> None:
    condition = Telling().look(at(1), silent="shop/orders-2", pods=(ORDERS, "shop/orders-2")).condition
    assert (condition.status, condition.reason) == (False, "Unreported")
    assert condition.message == (
        "The clock stands since 2026-03-01T12:00:00Z: for 60 s no report came from the sidecar of shop/orders-2. "
        "Does it reach handfast-directory? Its log says."
    )


def test_a_policy_that_decides_for_nobody_says_so() -> None:
    condition = Telling().look(at(1), pods=()).condition
    assert (condition.status, condition.reason) == (False, "SelectsNothing")
    assert "no pod with a running sidecar takes its mode from this policy" in condition.message


def test_promoted_it_says_since_when_and_lists_nobody() -> None:
    telling = Telling()
    telling.look(at(1), client(at(1)))
    assert telling.words(at(25)) == (
        True,
        "Promoted",
        "Strict since 2026-03-02T13:00:00Z: plaintext is refused. To let it in again, set mode to Permissive.",
    )
    assert telling.look(at(26)).to_json({}) == {
        "promotion": {"quietSince": "2026-03-01T13:00:00Z", "promotedAt": "2026-03-02T13:00:00Z"},
        "plaintextClients": [],
        "plaintextClientsTotal": 0,
    }


def test_a_quiet_day_is_told_once_and_its_end() -> None:
    telling = Telling()
    for minutes in range(24 * 60 + 1):
        telling.look(at(seconds=60 * minutes))
    assert [each.condition.reason for each in telling.reports] == ["WaitingForQuiet", "Promoted"]


def test_a_client_that_calls_every_ten_seconds_for_a_day_is_told_every_ten_minutes() -> None:
    telling = Telling()
    for number in range(24 * 360):
        now = at(seconds=10 * number)
        telling.look(now, client(now))
        assert telling.said is not None
        assert now - telling.said.listed.clients.newest[0].last_seen < timedelta(minutes=10)
    assert len(telling.reports) == 24 * 6


def test_one_that_calls_every_quarter_of_an_hour_costs_two_writes_each_time() -> None:
    telling = Telling()
    for minute in range(24 * 60):
        telling.look(at(seconds=60 * minute), client(at(seconds=60 * (minute - minute % 15))))
    assert len(telling.reports) == 2 * 24 * 4


def test_a_crowd_that_changes_all_the_time_is_told_each_minute() -> None:
    telling = Telling()
    for number in range(360):
        now = at(seconds=10 * number)
        telling.look(now, *(client(now, f"192.0.2.{(number + each) % 200}") for each in range(number % 3 + 1)))
    assert len(telling.reports) <= 60


def test_the_first_client_is_told_at_once_and_the_next_a_minute_later() -> None:
    telling = Telling()
    telling.look(at(1))
    first, second = client(at(1, 10)), client(at(1, 20), "deployment/mail")
    assert telling.look(at(1, 10), first).listed.clients.newest == (first,)
    said = telling.look(at(1, 20), second, first)
    assert said.listed.clients.total == 1
    assert next_list(said, Clients((second, first), 2)) == at(1, 70)
    assert telling.look(at(1, 70), second, first).listed.clients.total == 2


def test_twenty_are_listed_and_all_are_counted() -> None:
    said = Telling().look(at(1), *(client(at(1), f"deployment/{number}") for number in range(50)))
    written = said.to_json({})
    assert (len(written["plaintextClients"]), written["plaintextClientsTotal"]) == (MOST_LISTED, 50)
    assert written["plaintextClients"][0] == {
        "namespace": "shop",
        "name": "deployment/0",
        "port": 8080,
        "lastSeen": "2026-03-01T13:00:00Z",
    }


def test_plaintext_that_no_directory_remembers_is_told_by_its_time() -> None:
    telling = Telling()
    telling.look(at(1), client(at(1)))
    telling.look(at(1, 60))
    assert "Plaintext was seen at 2026-03-01T13:00:00Z." in telling.words(at(1, 61))[2]


def test_what_no_longer_holds_is_taken_out_of_the_status() -> None:
    known = {"quietSince": "2026-03-01T12:00:00Z", "pausedAt": "2026-03-01T12:30:00Z"}
    promotion = Telling().look(at(1), client(at(1))).to_json(known)["promotion"]
    assert promotion == {"quietSince": None, "pausedAt": None}
    assert set(NOTHING) == set(Telling().look(at(1)).to_json({}))


def test_a_status_is_read_back_as_it_was_written() -> None:
    standing = Telling().look(at(1), silent=ORDERS)
    assert parse_promotion(standing.to_json({})) == standing.promotion
    assert parse_promotion(None) == Promotion()
