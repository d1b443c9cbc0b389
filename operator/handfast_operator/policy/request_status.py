"""What a request says of itself: whether it was answered, whether what was granted holds, and what looks wrong. Pure.

The one rule: it tells its author nothing of another namespace that he could not find out without us, until its owner
has let him in. That a namespace exists shows in DNS; which labels its pods have does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from handfast_operator.cluster.objects import Pod
from handfast_operator.policy.grant_status import grant_history
from handfast_operator.policy.history import (
    APPROVED,
    CHANGED,
    DENIED,
    EXPIRED,
    REQUESTED,
    REVOKED,
    Entry,
    merge_history,
    read_history,
)
from handfast_operator.resources.access import AccessGrant, AccessRequest, Decision
from handfast_operator.resources.conditions import Condition
from handfast_operator.resources.parse_access import parse_time
from handfast_operator.resources.times import format_time


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a request is seen beside."""

    grants: Sequence[AccessGrant]
    """All that say that they answer it, of whatever namespace."""
    callers: Sequence[Pod]
    """The pods of the namespace that asks."""
    targets: Sequence[Pod]
    """The pods of the namespace that is asked."""
    namespace_exists: bool
    """Of the one that is asked."""


@dataclass(frozen=True, slots=True)
class RequestStatus:
    """What is written to a request's status."""

    conditions: tuple[Condition, ...]
    history: tuple[Entry, ...]
    grant: AccessGrant | None
    """The answer that counts; None: there is none."""


def request_status(
    request: AccessRequest, known: Mapping[str, Any], around: Surroundings, now: datetime
) -> RequestStatus:
    """The status of a request; `known` is the one that is written already."""
    answers = sorted((each for each in around.grants if each.answers(request)), key=lambda each: each.created)
    found = _found(request, known, answers, now) + _gone(known, {each.name for each in around.grants}, now)
    history = merge_history(read_history(known), found)
    live = [each for each in answers if each.until > now.timestamp()]
    grant = max(live, key=lambda each: each.until) if live else answers[-1] if answers else None
    if grant is None:
        answered, active = _unanswered(request, history)
    elif grant.decision is Decision.DENY:
        words = grant.answer or "nothing was said why"
        answered = Condition("Answered", True, "Denied", f"{grant.origin}{_by(grant)} denies it: {words}.")
        active = Condition("Active", False, "Denied", f"{grant.origin} denies it. To ask again, write another request.")
    else:
        answered = Condition("Answered", True, "Approved", f"{grant.origin}{_by(grant)} approves it.")
        active = _approved(request, grant, now)
    ended = active.reason == "Expired"
    expired = Condition(
        "Expired",
        ended,
        "Expired" if ended else "NotExpired",
        "What was granted has ended." if ended else "Nothing that was granted has ended.",
    )
    approved = grant is not None and grant.decision is Decision.APPROVE
    return RequestStatus((answered, active, expired, _doubtful(request, around, approved)), tuple(history), grant)


def _found(
    request: AccessRequest, known: Mapping[str, Any], answers: Sequence[AccessGrant], now: datetime
) -> list[Entry]:
    found = [Entry(format_time(request.created), REQUESTED, f"{request.callers} ask: {request.reason}")]
    observed = [int(each.get("observedGeneration", 0)) for each in known.get("conditions") or ()]
    if observed and max(observed) < request.generation:
        found.append(Entry(format_time(now), CHANGED, "The request was changed; a grant keeps what was asked before."))
    for grant in answers:
        found += grant_history(grant, now)
    return found


def _gone(known: Mapping[str, Any], present: set[str], now: datetime) -> list[Entry]:
    """Answers that are not there any more: deleted, and if before their end then taken back."""
    history = read_history(known)
    over = {each.grant for each in history if each.event in (EXPIRED, REVOKED)}
    told = []
    for each in history:
        if each.event not in (APPROVED, DENIED) or each.grant in present | over:
            continue
        end = str(known.get("expiresAt") or "") if known.get("grant") == each.grant else ""
        if each.event == APPROVED and end and parse_time(end) <= now:
            told.append(Entry(end, EXPIRED, f"what {each.grant} granted ended", "", each.grant))
        else:
            what = "what it granted ended" if each.event == APPROVED else "the request is open again"
            told.append(Entry(format_time(now), REVOKED, f"{each.grant} was deleted: {what}", "", each.grant))
    return told


def _unanswered(request: AccessRequest, history: Sequence[Entry]) -> tuple[Condition, Condition]:
    """Without any answer that is still there: what its history tells."""
    last = next((each for each in reversed(history) if each.event in (EXPIRED, REVOKED)), None)
    if last is not None and last.event == EXPIRED:
        return (
            Condition("Answered", True, "Approved", "It was approved, and what was granted has ended."),
            Condition("Active", False, "Expired", "What was granted has ended. To ask again, write another request."),
        )
    ask = f"handfast approve -n {request.target_namespace} {request.namespace}/{request.name}"
    sentence = f"Whoever may create AccessGrants in {request.target_namespace} answers it: {ask} (or handfast deny)."
    taken_back = last is not None and any(each.event == APPROVED and each.grant == last.grant for each in history)
    return (
        Condition("Answered", False, "Pending", sentence),
        Condition("Active", False, "Revoked", "The grant was deleted before its end.")
        if taken_back
        else Condition("Active", False, "Pending", "A request has no effect before it is answered."),
    )


def _approved(request: AccessRequest, grant: AccessGrant, now: datetime) -> Condition:
    end = format_time(grant.expires_at) if grant.expires_at is not None else ""
    if grant.until <= now.timestamp():
        return Condition("Active", False, "Expired", f"It ended at {end}. To ask again, write another request.")
    changed = ""
    if (grant.callers, grant.selector, grant.ports) != (request.callers, request.selector, request.ports):
        changed = " The request asks for something else by now: the grant keeps what was asked when it was answered."
    return Condition("Active", True, "InForce", f"{grant.origin} lets {grant.callers} in until {end}.{changed}")


def _doubtful(request: AccessRequest, around: Surroundings, approved: bool) -> Condition:
    doubts: list[tuple[str, str]] = []
    if not around.namespace_exists:
        doubts.append(("NoSuchNamespace", f"There is no namespace {request.target_namespace}."))
    for account in request.service_accounts:
        pods = [each for each in around.callers if each.service_account == account and not each.terminal]
        if not pods:
            doubts.append(("NoCallers", f"No pod of {request.namespace} runs as {account}."))
        elif not any(each.meshed for each in pods):
            sentence = f"No pod that runs as {account} has a sidecar, and only a sidecar proves who calls."
            doubts.append(("CallersWithoutSidecar", sentence))
    selected = any(request.selector.matches(each.labels) and not each.terminal for each in around.targets)
    if approved and not selected:
        doubts.append(("SelectsNothing", f"No pod of {request.target_namespace} has the labels of spec.target."))
    if not doubts:
        return Condition("Doubtful", False, "NoDoubt", "Nothing that can be seen from here looks wrong.")
    return Condition("Doubtful", True, doubts[0][0], " ".join(sentence for _reason, sentence in doubts))


def _by(grant: AccessGrant) -> str:
    return f" (by {grant.answered_by}, as written there)" if grant.answered_by else ""
