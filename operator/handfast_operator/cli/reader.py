"""Reads objects of the API server, and remembers what it was not allowed to read and what that means."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, Final, TypeVar

from handfast_operator.cli.errors import CliError, forbidden
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import (
    ACCESS_GRANTS,
    CLUSTER_MTLS_POLICIES,
    METADATA_ONLY,
    MTLS_POLICIES,
    NAMESPACES,
    TRUST_DOMAINS,
    Kind,
)
from handfast_operator.cluster.objects import Namespace, parse_namespace
from handfast_operator.explain.world import Facts
from handfast_operator.resources.parse import parse_cluster_mtls_policy, parse_mtls_policy
from handfast_operator.resources.parse_access import parse_access_grant
from handfast_operator.resources.revocation import parse_revoked
from handfast_operator.settings import Settings

Raw = Mapping[str, Any]
T = TypeVar("T")
PAGE: Final = "500"
_DEFAULT_TRUST_DOMAIN: Final = Settings().trust_domain


class Reader:
    """Of one command."""

    def __init__(self, client: ApiClient) -> None:
        self.client = client
        self.notes: list[str] = []
        self.unread: list[str] = []
        self._revoked = parse_revoked(None)

    async def one(self, kind: Kind, namespace: str, name: str) -> Raw | None:
        """An object; None: there is none. Raises ApiError."""
        try:
            return await self.client.get(kind.item(namespace, name))
        except ApiError as error:
            # Of a kind that the server does not have it says so in other words, which are for the caller.
            if error.status == 404 and "could not find the requested resource" not in error.message:
                return None
            raise

    async def named(self, kind: Kind, namespace: str, name: str, what: str) -> Raw:
        """An object that somebody named. Raises CliError where there is none, ApiError."""
        found = await self.one(kind, namespace, name)
        if found is None:
            raise CliError(f"there is no {what} {namespace}/{name}")
        return found

    async def many(self, kind: Kind, namespace: str = "", **params: str) -> list[Raw]:
        """A collection, page by page. Raises ApiError."""
        items: list[Raw] = []
        following = ""
        selected = {"labelSelector": kind.selector} if kind.selector else {}
        accept = METADATA_ONLY if kind.metadata_only else "application/json"
        while True:
            more = {"continue": following} if following else {}
            page = await self.client.get(
                kind.within(namespace), {"limit": PAGE, **selected, **params, **more}, accept=accept
            )
            items += page.get("items") or ()
            following = (page.get("metadata") or {}).get("continue") or ""
            if not following:
                return items

    async def permitted(self, reading: Awaitable[T], otherwise: T, consequence: str, *, matters: bool) -> T:
        """What is read, or `otherwise` where that is not allowed: which is remembered, with the consequence."""
        try:
            return await reading
        except ApiError as error:
            if error.status != 403:
                raise
            (self.unread if matters else self.notes).append(f"{forbidden(error)}; {consequence}")
            return otherwise

    async def facts(self, namespaces: Iterable[str], **objects: Any) -> Facts:
        """The policies for pods of these namespaces, beside objects that were read already. Raises ApiError."""
        wanted = sorted(set(namespaces))
        nothing: list[Raw] = []
        clusters, trust_domain, policies_of, grants_of = await asyncio.gather(
            self.permitted(
                self.many(CLUSTER_MTLS_POLICIES), nothing, "a ClusterMTLSPolicy may decide otherwise", matters=True
            ),
            self.trust_domain(),
            self._of_each(wanted, MTLS_POLICIES, "an MTLSPolicy of {} may decide otherwise"),
            self._of_each(wanted, ACCESS_GRANTS, "an AccessGrant of {} may let more in"),
        )
        # Labels of namespaces are asked for by nobody but these selectors.
        selecting = any((each.get("spec") or {}).get("namespaceSelector") is not None for each in clusters)
        labelled = await asyncio.gather(*(self._namespace(each) for each in wanted)) if selecting else []
        policies = tuple(map(parse_mtls_policy, policies_of))
        cluster_policies = tuple(map(parse_cluster_mtls_policy, clusters))
        origins = [each.origin for each in policies] + [each.origin for each in cluster_policies]
        written = [each.get("spec") or {} for each in (*policies_of, *clusters)]
        return Facts(
            trust_domain,
            namespaces=tuple(each for each in labelled if each is not None),
            policies=policies,
            cluster_policies=cluster_policies,
            grants=tuple(map(parse_access_grant, grants_of)),
            specs=dict(zip(origins, written, strict=True)),
            revoked=self._revoked,
            notes=tuple(self.notes),
            unread=tuple(self.unread),
            **objects,
        )

    async def _of_each(self, namespaces: Iterable[str], kind: Kind, consequence: str) -> list[Raw]:
        nothing: list[Raw] = []
        read = (
            self.permitted(self.many(kind, each), nothing, consequence.format(each), matters=True)
            for each in namespaces
        )
        return [each for found in await asyncio.gather(*read) for each in found]

    async def _namespace(self, name: str) -> Namespace | None:
        consequence = f"which ClusterMTLSPolicy selects {name} by its labels is not known"
        raw = await self.permitted(self.one(NAMESPACES, "", name), None, consequence, matters=True)
        return parse_namespace(raw) if raw is not None else None

    async def trust_domain(self) -> str:
        """The cluster's own: the name of the one TrustDomain. Raises ApiError."""
        assumed = f"the trust domain is taken for {_DEFAULT_TRUST_DOMAIN}"
        nothing: list[Raw] = []
        found = await self.permitted(self.many(TRUST_DOMAINS), nothing, assumed, matters=False)
        if len(found) == 1:
            self._revoked = parse_revoked((found[0].get("spec") or {}).get("revoked"))
            return str(found[0]["metadata"]["name"])
        if found:
            self.notes.append(f"there are {len(found)} TrustDomains; {assumed}")
        return _DEFAULT_TRUST_DOMAIN
