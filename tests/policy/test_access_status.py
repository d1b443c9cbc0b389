"""What requests and grants say of themselves: to who asked, and to who answered."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from handfast_operator.cluster.objects import Pod
from handfast_operator.policy.compile import PolicySet, compile_policy
from handfast_operator.policy.grant_status import GrantStatus, grant_history, grant_status
from handfast_operator.policy.history import MAX_ENTRIES, Entry, merge_history, news, read_history
from handfast_operator.policy.request_status import RequestStatus, Surroundings, request_status
from handfast_operator.resources.access import AccessGrant, AccessRequest
from handfast_operator.resources.conditions import merge_conditions
from handfast_operator.resources.parse_access import parse_access_request
from handfast_operator.resources.policies import AccessRule, Caller, MtlsPolicy, PolicySpec
from handfast_operator.resources.times import format_time
from support.access import answer_to, grant, request, request_body, stored
from support.objects import pod
from support.virtual_time import START

Json = dict[str, Any]
LABELS = {"app": "orders"}
ORDERS = pod("shop", "orders", labels=LABELS)
FRONT = pod("web", "front-1", service_account="front")
HOUR = timedelta(hours=1)
CLOSED = PolicySpec(allow=())


def of_grant(
    made: AccessGrant, *specs: PolicySpec, pods: Sequence[Pod] = (ORDERS,), now: datetime = START
) -> GrantStatus:
    policies = tuple(
        MtlsPolicy("shop", f"p{number}", f"uid-{number}", 1, 1, "2026-01-01T00:00:00Z", None, spec)
        for number, spec in enumerate(specs)
    )
    grants = {"shop": (made,)} if made.until > now.timestamp() else {}
    compiled = [
        (each, compile_policy("shop", each.labels, {}, PolicySet((), {"shop": policies}, grants), "cluster.local"))
        for each in pods
    ]
    return grant_status(made, [(each, found.policy) for each, found in compiled], "cluster.local", now)


def conditions(status: GrantStatus | RequestStatus) -> dict[str, tuple[bool, str]]:
    return {each.type: (each.status, each.reason) for each in status.conditions}


def message(status: GrantStatus | RequestStatus, name: str) -> str:
    return next(each.message for each in status.conditions if each.type == name)


def test_a_grant_in_force_says_whom_it_lets_in_where_and_until_when() -> None:
    status = of_grant(grant(), CLOSED)
    assert conditions(status) == {
        "Active": (True, "InForce"),
        "NoEffect": (False, "Effective"),
        "Overruled": (False, "NotDenied"),
    }
    assert message(status, "Active") == "web/front may call port 8080 of 1 pod until 2026-03-01T20:00:00Z."
    assert status.selected == 1


def test_a_grant_that_ended_says_so_and_no_more() -> None:
    status = of_grant(grant(), CLOSED, now=START + 8 * HOUR)
    assert conditions(status) == {"Active": (False, "Expired")}


def test_a_denial_says_that_it_has_no_effect() -> None:
    assert conditions(of_grant(grant(decision="Deny", expiresAt=None), CLOSED)) == {"Active": (False, "Denied")}


def test_a_grant_without_effect_says_why() -> None:
    assert conditions(of_grant(grant()))["NoEffect"] == (True, "NoAllowDecides")
    assert conditions(of_grant(grant(), CLOSED, pods=()))["NoEffect"] == (True, "SelectsNothing")
    bare = pod("shop", "bare", labels=LABELS, meshed=False)
    assert conditions(of_grant(grant(), CLOSED, pods=[bare]))["NoEffect"] == (True, "NoSidecars")


def test_a_grant_names_the_policy_that_overrules_it() -> None:
    deny = PolicySpec(deny=(AccessRule((Caller(namespace="web"),)),))
    status = of_grant(grant(), CLOSED, deny)
    assert conditions(status)["Overruled"] == (True, "Denied")
    assert message(status, "Overruled") == "MTLSPolicy shop/p1 denies web/front: a deny beats every grant."


def test_a_grant_for_every_port_is_overruled_by_a_deny_of_one() -> None:
    deny = PolicySpec(deny=(AccessRule((Caller(namespace="web"),), frozenset({9090})),))
    assert conditions(of_grant(grant(ports=None), CLOSED, deny))["Overruled"] == (True, "Denied")
    assert conditions(of_grant(grant(ports=[80]), CLOSED, deny))["Overruled"] == (False, "NotDenied")


# --- requests


def seen(
    asked: AccessRequest,
    *grants: AccessGrant,
    known: Json | None = None,
    now: datetime = START,
    callers: Sequence[Pod] = (FRONT,),
    targets: Sequence[Pod] = (ORDERS,),
    exists: bool = True,
) -> RequestStatus:
    return request_status(asked, known or {}, Surroundings(grants, callers, targets, exists), now)


def written(status: RequestStatus, asked: AccessRequest, now: datetime = START) -> Json:
    """As it stands in the object afterwards."""
    made: Json = {
        "conditions": merge_conditions((), status.conditions, asked.generation, now),
        "history": [each.to_json() for each in status.history],
    }
    if status.grant is not None:
        made["grant"] = status.grant.name
        if status.grant.expires_at is not None:
            made["expiresAt"] = format_time(status.grant.expires_at)
    return made


def events(status: RequestStatus) -> list[str]:
    return [each.event for each in status.history]


def test_a_request_waits_for_its_answer_and_says_who_gives_it() -> None:
    status = seen(request())
    assert conditions(status) == {
        "Answered": (False, "Pending"),
        "Active": (False, "Pending"),
        "Expired": (False, "NotExpired"),
        "Doubtful": (False, "NoDoubt"),
    }
    assert "handfast approve -n shop web/front" in message(status, "Answered")
    assert events(status) == ["Requested"]


def test_an_approved_request_says_until_when_and_who_said_so() -> None:
    asked = request()
    status = seen(asked, answer_to(asked, answeredBy="jane"))
    assert conditions(status)["Answered"] == (True, "Approved")
    assert conditions(status)["Active"] == (True, "InForce")
    assert "by jane, as written there" in message(status, "Answered")
    assert "until 2026-03-01T20:00:00Z" in message(status, "Active")
    assert [(each.event, each.by) for each in status.history] == [("Requested", ""), ("Approved", "jane")]


def test_a_denied_request_says_why() -> None:
    asked = request()
    status = seen(asked, answer_to(asked, decision="Deny", expiresAt=None, answer="use the queue"))
    assert (conditions(status)["Answered"], conditions(status)["Active"]) == ((True, "Denied"), (False, "Denied"))
    assert "use the queue" in message(status, "Answered")


def test_what_was_granted_ends_and_the_history_keeps_it() -> None:
    asked = request()
    answer = answer_to(asked)
    before = written(seen(asked, answer), asked)
    status = seen(asked, answer, known=before, now=START + 9 * HOUR)
    assert conditions(status)["Active"] == (False, "Expired")
    assert conditions(status)["Expired"] == (True, "Expired")
    assert [(each.event, each.time) for each in status.history][-1] == ("Expired", "2026-03-01T20:00:00Z")
    gone = seen(asked, known=written(status, asked), now=START + 10 * HOUR)
    assert conditions(gone)["Active"] == (False, "Expired")
    assert events(gone) == ["Requested", "Approved", "Expired"]


def test_a_grant_that_is_deleted_before_its_end_is_revoked() -> None:
    asked = request()
    before = written(seen(asked, answer_to(asked)), asked)
    status = seen(asked, known=before, now=START + HOUR)
    assert (conditions(status)["Answered"], conditions(status)["Active"]) == ((False, "Pending"), (False, "Revoked"))
    assert events(status) == ["Requested", "Approved", "Revoked"]
    assert events(seen(asked, known=written(status, asked), now=START + 2 * HOUR)) == events(status)


def test_a_denial_that_is_deleted_opens_the_request_again() -> None:
    asked = request()
    before = written(seen(asked, answer_to(asked, decision="Deny", expiresAt=None)), asked)
    status = seen(asked, known=before, now=START + HOUR)
    assert (conditions(status)["Answered"], conditions(status)["Active"]) == ((False, "Pending"), (False, "Pending"))
    again = seen(asked, answer_to(asked, "g2"), known=written(status, asked), now=START + HOUR)
    assert conditions(again)["Active"] == (True, "InForce")


def test_a_request_that_is_edited_afterwards_keeps_its_grant_and_says_that_it_was() -> None:
    asked = request()
    answer = answer_to(asked)
    known = written(seen(asked, answer), asked)
    edited = parse_access_request(stored(request_body(ports=None), generation=2))
    status = seen(edited, answer, known=known, now=START + HOUR)
    assert conditions(status)["Active"] == (True, "InForce")
    assert "asks for something else by now" in message(status, "Active")
    assert events(status) == ["Requested", "Approved", "Changed"]
    assert events(seen(edited, answer, known=written(status, edited), now=START + 2 * HOUR)) == events(status)


def test_only_the_namespace_that_is_asked_can_answer() -> None:
    asked = request()
    ref = {"namespace": "web", "name": "front", "uid": asked.uid}
    assert conditions(seen(asked, grant(namespace="web", request=ref)))["Answered"] == (False, "Pending")
    later = {**ref, "uid": "uid-of-an-earlier-request"}
    assert conditions(seen(asked, grant(request=later)))["Answered"] == (False, "Pending")


def test_a_request_that_asks_elsewhere_by_now_does_not_take_its_grant_for_deleted() -> None:
    asked = request()
    answer = answer_to(asked)
    known = written(seen(asked, answer), asked)
    target = {"namespace": "bank", "selector": {"matchLabels": LABELS}}
    status = seen(parse_access_request(stored(request_body(target=target), generation=2)), answer, known=known)
    assert conditions(status)["Answered"] == (False, "Pending")
    assert "Revoked" not in events(status)


def test_doubts_are_told_together() -> None:
    status = seen(request(), exists=False, callers=())
    assert conditions(status)["Doubtful"] == (True, "NoSuchNamespace")
    assert "There is no namespace shop. No pod of web runs as front." in message(status, "Doubtful")
    bare = pod("web", "front-1", service_account="front", meshed=False)
    assert conditions(seen(request(), callers=[bare]))["Doubtful"] == (True, "CallersWithoutSidecar")


def test_labels_of_another_namespace_are_told_to_whom_its_owner_let_in_alone() -> None:
    asked = request()
    assert conditions(seen(asked, targets=()))["Doubtful"] == (False, "NoDoubt")
    denied = answer_to(asked, decision="Deny", expiresAt=None)
    assert conditions(seen(asked, denied, targets=()))["Doubtful"] == (False, "NoDoubt")
    assert conditions(seen(asked, answer_to(asked), targets=()))["Doubtful"] == (True, "SelectsNothing")


# --- history


def test_a_history_keeps_the_last_ten_and_what_fell_out_is_no_news() -> None:
    entries = [Entry(f"2026-03-01T12:00:{number:02}Z", "Changed", "it") for number in range(20)]
    kept = merge_history((), entries)
    assert kept == entries[-MAX_ENTRIES:]
    assert news(kept, merge_history(kept, entries)) == []


def test_a_history_is_read_as_it_was_written() -> None:
    entries = grant_history(grant(answeredBy="jane"), START + 9 * HOUR)
    assert read_history({"history": [each.to_json() for each in entries]}) == entries
