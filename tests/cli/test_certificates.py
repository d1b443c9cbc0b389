"""What is told of a pod's certificate: what its sidecar runs with counts, and its Secret explains."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from handfast_operator.authority.expiring import Within
from handfast_operator.authority.schedule import BACKDATE, renew_at
from handfast_operator.cli.certificates import PodRow, reported_rows, row_to_json, rows
from handfast_operator.cluster.objects import Pod, SecretMeta
from handfast_operator.evidence.view import PodReport
from handfast_operator.resources.times import format_time
from support.objects import pod

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ORDERS = pod("shop", "orders")
ROOT = "0a" * 20


def report(issued: datetime, serial: str = "1f", at: datetime = NOW, of: Pod = ORDERS) -> PodReport:
    """Of a leaf of a day."""
    start, end = format_time(issued - BACKDATE), format_time(issued + DAY)
    return PodReport(f"{of.namespace}/{of.name}", "", at.timestamp(), serial, end, "", 1, (ROOT,), start)


def secret(issued: datetime, serial: str = "1f", of: Pod = ORDERS) -> SecretMeta:
    end = issued + DAY
    said = {
        "serial": serial,
        "issued-at": format_time(issued),
        "not-after": format_time(end),
        "renew-at": format_time(renew_at(issued, end, of.uid)),
    }
    annotations = {f"handfast.dev/{name}": value for name, value in said.items()}
    return SecretMeta(of.namespace, of.secret, "uid", 1, {}, annotations, (of.uid,), ())


def row(told: PodReport | None, held: SecretMeta | None = None, of: Pod = ORDERS, *, readable: bool = False) -> PodRow:
    secrets = {(of.namespace, of.secret): held} if held is not None else {} if readable else None
    reports = {of.uid: told} if told is not None else {}
    [found] = rows(NOW, pods=[of], reports=reports, secrets=secrets, issuers={ROOT: "handfast-authority-1"})
    return found


def test_a_report_alone_tells_all_that_matters() -> None:
    found = row(report(NOW - HOUR))
    assert (found.pod, found.issuer, found.state, found.within) == ("shop/orders", "handfast-authority-1", "ok", None)
    assert found.leaf is not None
    assert found.leaf.renews == renew_at(NOW - HOUR, NOW + 23 * HOUR, ORDERS.uid)
    assert found.leaf.begins == NOW - HOUR


def test_a_leaf_that_was_not_renewed_says_so() -> None:
    assert row(report(NOW - 18 * HOUR)).state == "not renewed, less than a third left"
    late = row(report(NOW - 21 * HOUR))
    assert (late.state, late.within) == ("not renewed, less than a sixth left", Within.SIXTH)
    assert row(report(NOW - 25 * HOUR)).state == "expired"


def test_a_renewal_that_is_due_is_no_failure_yet_and_is_shown() -> None:
    issued = NOW - 12 * HOUR
    due = replace(
        ORDERS, uid=next(u for u in map(str, range(999)) if renew_at(issued, issued + DAY, u) < NOW + HOUR / 9)
    )
    late = report(issued - HOUR, of=due)
    found = row(late, of=due)
    assert (found.state, found.within, found.due) == ("renewal is due", None, True)


def test_a_newer_leaf_in_the_secret_explains_why_the_old_one_runs() -> None:
    new = row(report(NOW - 14 * HOUR), secret(NOW - MINUTE, "2b"))
    assert new.leaf is not None
    assert (new.leaf.serial, new.held and new.held.serial) == ("1f", "2b")
    assert new.state.endswith("kubelet has not projected the new one yet, for 60s")
    stuck = row(report(NOW - 18 * HOUR), secret(NOW - 5 * MINUTE, "2b"))
    assert stuck.state == "not renewed, less than a third left; the new one is not loaded, for 5m"


def test_without_a_report_the_secret_is_what_is_known() -> None:
    found = row(None, secret(NOW - HOUR, "2b"))
    assert (found.leaf and found.leaf.serial, found.state) == ("2b", "no report yet")
    assert row(None, replace(secret(NOW), owner_uids=("another",)), readable=True).state == "no Secret yet"


def test_nothing_known_is_told_as_that() -> None:
    assert row(None).state == "no report yet"
    assert row(None, of=replace(ORDERS, proxy_running=False)).state == "not running yet"
    assert row(None, readable=True).state == "no Secret yet"


def test_a_sidecar_that_fell_silent_is_told_with_what_it_last_said() -> None:
    assert row(report(NOW - HOUR, at=NOW - 5 * MINUTE)).state == "silent for 5m"


def test_a_sidecar_that_does_not_tell_when_its_leaf_began_is_judged_by_its_end() -> None:
    found = row(replace(report(NOW - 21 * HOUR), not_before=""))
    assert (found.state, found.leaf and found.leaf.renews) == ("ok", None)
    assert row(replace(report(NOW - 25 * HOUR), not_before="")).state == "expired"


def test_problems_come_first_the_worst_of_them_before_the_others() -> None:
    pods = [pod("shop", name) for name in ("a", "b", "c", "d")]
    ages = (1, 18, 25, 21)
    reports = {each.uid: report(NOW - age * HOUR, of=each) for each, age in zip(pods, ages, strict=True)}
    found = rows(NOW, pods=pods, reports=reports, secrets=None, issuers={})
    assert [each.pod for each in found] == ["shop/c", "shop/d", "shop/b", "shop/a"]
    assert [each.pod for each in reported_rows(NOW, reports, {})] == [each.pod for each in found]


def test_pods_without_a_sidecar_and_ended_ones_have_no_certificate() -> None:
    pods = [pod("shop", "plain", meshed=False), pod("shop", "done", phase="Succeeded")]
    assert rows(NOW, pods=pods, reports={}, secrets=None, issuers={}) == []


def test_as_data_what_is_not_known_is_null() -> None:
    found = row_to_json(row(report(NOW - HOUR)))
    assert found["secret"] is None
    assert found["loaded"]["notAfter"] == "2026-03-02T11:00:00Z"
    assert found["loaded"]["issuedAt"] == "2026-03-01T11:00:00Z"
    assert found["reportedAt"] == "2026-03-01T12:00:00Z"
