"""A cluster of a few objects, with the policies as somebody writes them."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from handfast_operator.cluster.objects import Namespace, Pod
from handfast_operator.cluster.services import EndpointSlice, Service
from handfast_operator.evidence.view import EvidenceView
from handfast_operator.explain.explanation import Explanation, Question, explain
from handfast_operator.explain.parties import Client, Target
from handfast_operator.explain.world import Facts, World
from handfast_operator.resources.parse import parse_cluster_mtls_policy, parse_mtls_policy
from handfast_operator.resources.parse_access import parse_access_grant
from handfast_sidecar.identity.revocation import Revocation
from support.stores import TRUST_DOMAIN

Json = dict[str, Any]
_numbers = count(1)


def policy(name: str, namespace: str = "shop", **spec: Any) -> Json:
    """An MTLSPolicy; those made later are younger."""
    return {"metadata": _metadata(name) | {"namespace": namespace}, "spec": spec}


def cluster_policy(name: str, **spec: Any) -> Json:
    """A ClusterMTLSPolicy."""
    return {"metadata": _metadata(name), "spec": spec}


def grant(name: str, until: str, namespace: str = "shop", **spec: Any) -> Json:
    """An AccessGrant that lets service account `cart` of the namespace `web` in."""
    return {
        "kind": "AccessGrant",
        "metadata": _metadata(name) | {"namespace": namespace},
        "spec": {
            "decision": "Approve",
            "from": {"namespace": "web", "serviceAccounts": ["cart"]},
            "selector": {"matchLabels": {"app": "orders"}},
            "reason": "because",
            "expiresAt": until,
            **spec,
        },
    }


def _metadata(name: str) -> Json:
    number = next(_numbers)
    return {
        "name": name,
        "uid": f"uid-{name}-{number}",
        "resourceVersion": str(number),
        "creationTimestamp": f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z",
    }


def world(
    *objects: Pod | Service | EndpointSlice | Json, unread: Sequence[str] = (), revoked: Sequence[Revocation] = ()
) -> World:
    """Of these objects."""
    raw = [each for each in objects if isinstance(each, dict)]
    grants = [parse_access_grant(each) for each in raw if each.get("kind") == "AccessGrant"]
    raw = [each for each in raw if each.get("kind") != "AccessGrant"]
    policies = [parse_mtls_policy(each) for each in raw if "namespace" in each["metadata"]]
    wide = [parse_cluster_mtls_policy(each) for each in raw if "namespace" not in each["metadata"]]
    names = {each["metadata"]["uid"]: each["spec"] for each in raw}
    return World(
        Facts(
            TRUST_DOMAIN,
            pods=tuple(each for each in objects if isinstance(each, Pod)),
            namespaces=(Namespace("shop", 1, {}, terminating=False),),
            policies=tuple(policies),
            cluster_policies=tuple(wide),
            grants=tuple(grants),
            services=tuple(each for each in objects if isinstance(each, Service)),
            slices=tuple(each for each in objects if isinstance(each, EndpointSlice)),
            specs={each.origin: names[each.uid] for each in policies} | {each.origin: names[each.uid] for each in wide},
            unread=tuple(unread),
            revoked=tuple(revoked),
        )
    )


def why(
    there: World,
    client: Pod | Client,
    address: str,
    port: int = 8080,
    *,
    view: EvidenceView | None = None,
    **target: Any,
) -> Explanation:
    """May the client connect to an address?"""
    who = client if isinstance(client, Client) else Client.of(client, TRUST_DOMAIN)
    return explain(there, Question(who, address, port, (Target(address, port, **target),)), view)
