"""The grant that answers a request: a copy of what was asked, made by `handfast approve` and `deny`.

The one rule: what is copied is what was read at one moment. Whoever edits the request afterwards has asked in vain.
"""

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from handfast_operator.resources.access import Decision
from handfast_operator.resources.times import format_time
from handfast_sidecar.wellknown import API_GROUP, API_VERSION

Json = dict[str, Any]
MAX_NAME: Final = 253
_DIGITS: Final = 10


def grant_name(request: Mapping[str, Any]) -> str:
    """The same for every answer to a request, so that two people at once do not write two; another for a later request
    of the same name."""
    meta = request["metadata"]
    digest = hashlib.sha256(str(meta["uid"]).encode()).hexdigest()[:_DIGITS]
    readable = f"{meta['namespace']}.{meta['name']}"[: MAX_NAME - _DIGITS - 1].rstrip("-.")
    return f"{readable}-{digest}"


def grant_for(
    request: Mapping[str, Any],
    decision: Decision,
    *,
    expires_at: datetime | None = None,
    answer: str = "",
    answered_by: str = "",
) -> Json:
    """The AccessGrant, as it is created; an approval needs `expires_at`."""
    meta, asked = request["metadata"], request["spec"]
    spec: Json = {
        "decision": decision.value,
        "request": {"namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]},
        "from": {"namespace": meta["namespace"], "serviceAccounts": list(asked["serviceAccounts"])},
        "selector": asked["target"]["selector"],
        "reason": asked["reason"],
    }
    if asked.get("ports") is not None:
        spec["ports"] = list(asked["ports"])
    if expires_at is not None:
        spec["expiresAt"] = format_time(expires_at)
    spec |= {name: value for name, value in (("answer", answer), ("answeredBy", answered_by)) if value}
    return {
        "apiVersion": f"{API_GROUP}/{API_VERSION}",
        "kind": "AccessGrant",
        "metadata": {"name": grant_name(request), "namespace": asked["target"]["namespace"]},
        "spec": spec,
    }


def told_selector(selector: Mapping[str, Any]) -> str:
    """As `kubectl -l` takes it: `app=orders,tier in (a,b)`."""
    terms = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for each in selector.get("matchExpressions") or ():
        values = f"({','.join(each.get('values') or ())})"
        match each["operator"]:
            case "In":
                terms.append(f"{each['key']} in {values}")
            case "NotIn":
                terms.append(f"{each['key']} notin {values}")
            case "Exists":
                terms.append(each["key"])
            case _:
                terms.append(f"!{each['key']}")
    return ",".join(terms)


def told_ports(ports: Collection[int] | None) -> str:
    """For people: `port 80`, `ports 80, 443`, `every port`."""
    if ports is None:
        return "every port"
    return f"port{'s' if len(ports) != 1 else ''} {', '.join(map(str, sorted(ports)))}"


def printable(text: str) -> str:
    """In one line, and without what a terminal would act on: it is a stranger's text that the one who decides reads."""
    return "".join(each if each.isprintable() else "\ufffd" for each in " ".join(text.split()))
