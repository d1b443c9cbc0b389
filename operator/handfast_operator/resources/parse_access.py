"""AccessRequest and AccessGrant from the API server's JSON.

What the schema should have kept out raises ValueError: a grant that is not understood has no effect.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from handfast_operator.resources.access import AccessGrant, AccessRequest, Callers, Decision, RequestRef
from handfast_operator.resources.durations import parse_duration
from handfast_operator.resources.selectors import LabelSelector, parse_selector

Raw = Mapping[str, Any]
_NAME: Final = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
"""Of namespaces and service accounts: a DNS subdomain (RFC 1123), which is always a segment of a SPIFFE ID."""


def parse_access_request(raw: Raw) -> AccessRequest:
    """An AccessRequest."""
    meta, spec = raw["metadata"], raw["spec"]
    return AccessRequest(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=int(meta.get("generation", 1)),
        created=parse_time(meta["creationTimestamp"]),
        service_accounts=_accounts(spec["serviceAccounts"]),
        target_namespace=_name(spec["target"]["namespace"]),
        selector=_selector(spec["target"].get("selector")),
        ports=_ports(spec.get("ports")),
        reason=spec["reason"],
        duration=parse_duration(spec["duration"]),
    )


def parse_access_grant(raw: Raw) -> AccessGrant:
    """An AccessGrant."""
    meta, spec = raw["metadata"], raw["spec"]
    request, expires = spec.get("request"), spec.get("expiresAt")
    decision = Decision(spec["decision"])
    if decision is Decision.APPROVE and not expires:
        raise ValueError("an approval without an end")
    return AccessGrant(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=int(meta["resourceVersion"]),
        generation=int(meta.get("generation", 1)),
        created=parse_time(meta["creationTimestamp"]),
        decision=decision,
        request=RequestRef(request["namespace"], request["name"], request["uid"]) if request else None,
        callers=Callers(_name(spec["from"]["namespace"]), _accounts(spec["from"]["serviceAccounts"])),
        selector=_selector(spec.get("selector")),
        ports=_ports(spec.get("ports")),
        reason=spec.get("reason") or "",
        answer=spec.get("answer") or "",
        answered_by=spec.get("answeredBy") or "",
        expires_at=parse_time(expires) if expires else None,
    )


def parse_time(text: str) -> datetime:
    """RFC 3339, as the API server takes it: T and Z may be small letters."""
    moment = datetime.fromisoformat(text.upper())
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name of a namespace or service account")
    return text


def _accounts(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        raise ValueError("no service account is named")
    return tuple(map(_name, names))


def _selector(raw: Raw | None) -> LabelSelector:
    """Never one that selects everything by saying nothing."""
    selector = parse_selector(raw)
    if selector is None or not selector.requirements:
        raise ValueError("the selector is empty")
    return selector


def _ports(ports: Sequence[Any] | None) -> frozenset[int] | None:
    return None if ports is None else frozenset(int(port) for port in ports)
