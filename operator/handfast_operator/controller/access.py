"""The statuses of AccessRequests and AccessGrants, and what both sides are told of them by Events.

The one rule: an Event is said for what a written status has as news. So each is said once, whoever leads.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from handfast_operator.cluster.kinds import ACCESS_GRANTS, ACCESS_REQUESTS, Kind
from handfast_operator.cluster.objects import Key, Namespace
from handfast_operator.cluster.store import Store
from handfast_operator.controller.events import Regarding
from handfast_operator.controller.status import KindStatus, Target
from handfast_operator.policy.grant_status import grant_history, grant_status
from handfast_operator.policy.history import (
    APPROVED,
    CHANGED,
    DENIED,
    EXPIRED,
    REQUESTED,
    REVOKED,
    merge_history,
    news,
    read_history,
)
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.policy.request_status import Surroundings, request_status
from handfast_operator.resources.access import AccessGrant
from handfast_operator.resources.conditions import Condition, merge_conditions
from handfast_operator.resources.parse_access import parse_access_grant, parse_access_request
from handfast_operator.resources.times import format_time
from handfast_sidecar.identity.clock import Clock, utc_now
from handfast_sidecar.wellknown import API_GROUP, API_VERSION

Json = dict[str, Any]
Say = Callable[[Regarding, str, str, str], None]
_EVENTS: Final = {
    REQUESTED: ("Normal", "AccessRequested"),
    CHANGED: ("Normal", "AccessRequestChanged"),
    APPROVED: ("Normal", "AccessApproved"),
    DENIED: ("Warning", "AccessDenied"),
    REVOKED: ("Warning", "AccessRevoked"),
    EXPIRED: ("Normal", "AccessExpired"),
}
"""By what stands in a history: type and reason of the Event."""


class AccessStatuses:
    """What is written to both kinds, and what is said when it was."""

    def __init__(
        self,
        index: PolicyIndex,
        namespaces: Store[Namespace],
        grants: Store[AccessGrant],
        trust_domain: str,
        say: Say,
        clock: Clock = utc_now,
    ) -> None:
        self._index = index
        self._namespaces = namespaces
        self._trust_domain = trust_domain
        self._say = say
        self._clock = clock
        self._answers: dict[str, dict[Key, AccessGrant]] = {}
        """By the UID of the request."""
        grants.subscribe(self._grant_changed)

    def kinds(self) -> dict[Kind, KindStatus]:
        """For the writer of statuses."""
        return {
            ACCESS_REQUESTS: KindStatus(self._request, self._tell),
            ACCESS_GRANTS: KindStatus(self._grant, self._tell),
        }

    def _request(self, raw: Json) -> Json:
        now, known = self._clock(), raw.get("status") or {}
        try:
            request = parse_access_request(raw)
        except (KeyError, TypeError, ValueError) as error:
            return self._not_understood(raw, error, now)
        around = Surroundings(
            grants=list(self._answers.get(request.uid, {}).values()),
            callers=list(self._index.pods_of(request.namespace)),
            targets=list(self._index.pods_of(request.target_namespace)),
            namespace_exists=self._namespaces.get("", request.target_namespace) is not None,
        )
        status = request_status(request, known, around, now)
        end = status.grant.expires_at if status.grant is not None else None
        return {
            "conditions": self._merge(raw, now, *status.conditions),
            "history": [each.to_json() for each in status.history],
            "grant": status.grant.name if status.grant is not None else None,
            "expiresAt": format_time(end) if end is not None else None,
        }

    def _grant(self, raw: Json) -> Json:
        now, known = self._clock(), raw.get("status") or {}
        try:
            grant = parse_access_grant(raw)
        except (KeyError, TypeError, ValueError) as error:
            return self._not_understood(raw, error, now)
        pods = [
            (pod, self._index.compiled(pod).policy)
            for pod in self._index.pods_of(grant.namespace)
            if grant.selects(pod.namespace, pod.labels)
        ]
        status = grant_status(grant, pods, self._trust_domain, now)
        history = merge_history(read_history(known), grant_history(grant, now))
        return {
            "conditions": self._merge(raw, now, *status.conditions),
            "history": [each.to_json() for each in history],
            "selected": status.selected,
        }

    def _not_understood(self, raw: Json, error: Exception, now: datetime) -> Json:
        condition = Condition("Active", False, "NotUnderstood", f"It has no effect, as it is not understood: {error}.")
        return {"conditions": self._merge(raw, now, condition)}

    def _merge(self, raw: Json, now: datetime, *conditions: Condition) -> list[Json]:
        known = (raw.get("status") or {}).get("conditions") or ()
        return merge_conditions(known, conditions, int(raw["metadata"].get("generation", 1)), now)

    def _tell(self, target: Target, before: Json, status: Json) -> None:
        """An Event for each entry that the written status has and the one before it had not."""
        meta = before["metadata"]
        regarding = Regarding(
            f"{API_GROUP}/{API_VERSION}",
            "AccessRequest" if target.kind == ACCESS_REQUESTS else "AccessGrant",
            target.namespace,
            target.name,
            str(meta["uid"]),
        )
        for entry in news(read_history(before.get("status") or {}), read_history(status)):
            if entry.event in _EVENTS:
                kind, reason = _EVENTS[entry.event]
                by = f" ({entry.by}, as written there)" if entry.by else ""
                self._say(regarding, kind, reason, entry.message + by)

    def _grant_changed(self, before: AccessGrant | None, after: AccessGrant | None) -> None:
        if before is not None and before.request is not None:
            known = self._answers.get(before.request.uid, {})
            known.pop(before.key, None)
            if not known:
                self._answers.pop(before.request.uid, None)
        if after is not None and after.request is not None:
            self._answers.setdefault(after.request.uid, {})[after.key] = after
