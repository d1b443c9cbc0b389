"""AccessRequests and AccessGrants, with what a test does not care about filled in."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from handfast_operator.resources.access import AccessGrant, AccessRequest
from handfast_operator.resources.parse_access import parse_access_grant, parse_access_request
from handfast_operator.resources.times import format_time
from support.virtual_time import START

Json = dict[str, Any]
ORDERS = {"matchLabels": {"app": "orders"}}
_versions = count(100)


def request_body(name: str = "front", namespace: str = "web", **spec: Any) -> Json:
    """`front` of `web` asks for port 8080 of the orders of `shop`, for eight hours."""
    asked = {
        "serviceAccounts": ["front"],
        "target": {"namespace": "shop", "selector": ORDERS},
        "ports": [8080],
        "reason": "the new checkout",
        "duration": "8h",
    }
    return {
        "apiVersion": "handfast.dev/v1alpha1",
        "kind": "AccessRequest",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {key: value for key, value in (asked | spec).items() if value is not None},
    }


def grant_body(name: str = "g", namespace: str = "shop", **spec: Any) -> Json:
    """`front` of `web` may call port 8080 of the orders, for eight hours from START."""
    said = {
        "decision": "Approve",
        "from": {"namespace": "web", "serviceAccounts": ["front"]},
        "selector": ORDERS,
        "ports": [8080],
        "expiresAt": format_time(START + timedelta(hours=8)),
    }
    return {
        "apiVersion": "handfast.dev/v1alpha1",
        "kind": "AccessGrant",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {key: value for key, value in (said | spec).items() if value is not None},
    }


def stored(body: Json, *, generation: int = 1, created: datetime = START, uid: str = "") -> Json:
    """As the API server gives it back."""
    meta = body["metadata"]
    return body | {
        "metadata": meta
        | {
            "uid": uid or f"uid-{meta['namespace']}-{meta['name']}",
            "resourceVersion": str(next(_versions)),
            "generation": generation,
            "creationTimestamp": format_time(created.astimezone(UTC)),
        }
    }


def grant(name: str = "g", namespace: str = "shop", *, created: datetime = START, **spec: Any) -> AccessGrant:
    """The same, parsed."""
    return parse_access_grant(stored(grant_body(name, namespace, **spec), created=created))


def request(name: str = "front", namespace: str = "web", **spec: Any) -> AccessRequest:
    """The same, parsed."""
    return parse_access_request(stored(request_body(name, namespace, **spec)))


def answer_to(asked: AccessRequest, name: str = "g", **spec: Any) -> AccessGrant:
    """A grant that refers to it."""
    ref = {"namespace": asked.namespace, "name": asked.name, "uid": asked.uid}
    return grant(name, asked.target_namespace, request=ref, **spec)
