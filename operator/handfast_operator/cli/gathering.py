"""Gathers what the checks look at: everything at the same time, and what may not be read is remembered as such."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp

from handfast_operator import __version__
from handfast_operator.authority.storage import BUNDLE_CONFIG_MAP
from handfast_operator.checks.before import install_rights
from handfast_operator.checks.facts import AUTHORITIES, DEPLOYMENTS, OWN_PODS, Asked, Facts, Raw, Right
from handfast_operator.cli.errors import forbidden
from handfast_operator.cli.evidence import collect
from handfast_operator.cli.reader import Reader
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import (
    ADMISSION_BINDINGS,
    ADMISSION_POLICIES,
    CLUSTER_MTLS_POLICIES,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    DEFINITIONS,
    ENDPOINT_SLICES,
    LEASES,
    MTLS_POLICIES,
    MUTATING_WEBHOOKS,
    NAMESPACES,
    NETWORK_POLICIES,
    PODS,
    ROLE_BINDINGS,
    ROLES,
    SERVICES,
    TRUST_DOMAINS,
    VALIDATING_WEBHOOKS,
    Kind,
)
from handfast_operator.cluster.objects import parse_namespace, parse_pod
from handfast_sidecar.wellknown import (
    ANNOTATION_INTERCEPTION,
    CONTROLLER_ACCOUNT,
    INJECT_ENABLED,
    INTERCEPTION_NONE,
    LABEL_INJECT,
    PROXY_CONTAINER,
)

_EVERYWHERE: Final = (
    DEFINITIONS,
    MUTATING_WEBHOOKS,
    VALIDATING_WEBHOOKS,
    ADMISSION_POLICIES,
    ADMISSION_BINDINGS,
    CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS,
    NAMESPACES,
    PODS,
    NETWORK_POLICIES,
    MTLS_POLICIES,
    CLUSTER_MTLS_POLICIES,
    TRUST_DOMAINS,
)
_HERE: Final = (DEPLOYMENTS, OWN_PODS, SERVICES, ENDPOINT_SLICES, ROLES, ROLE_BINDINGS, AUTHORITIES)
_BEFORE: Final = (DEFINITIONS, MUTATING_WEBHOOKS, NAMESPACES, PODS)
_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_POLICIES: Final = "/apis/admissionregistration.k8s.io/v1"
_OURS: Final = "inject.handfast.dev"
_UNSERVED: Final = "could not find the requested resource"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Server:
    """What the API server says of itself."""

    version: str
    at: datetime
    ahead: timedelta
    served: frozenset[str]


class Gathering:
    """Of one command."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        """`namespace`: where Handfast is, or is to be, installed."""
        self._client = client
        self._reader = Reader(client)
        self._namespace = namespace
        self._objects: dict[Kind, list[Raw]] = {}
        self._unread: dict[Kind | Asked, str] = {}
        self._unserved: set[Kind] = set()

    async def before(self) -> Facts:
        """What an installation depends on. Raises ApiError, ClientError."""
        reads = (self._read(kind) for kind in _BEFORE)
        server, rights, _ = await asyncio.gather(self._server(), self._rights(), asyncio.gather(*reads))
        return self._facts(server, rights=rights)

    async def after(self, trial_namespace: str, *, trial: bool = True) -> Facts:
        """What a working installation consists of; `trial`: a pod is created in this namespace, and not kept."""
        reads = (
            *(self._read(kind) for kind in _EVERYWHERE),
            *(self._read(kind, self._namespace) for kind in _HERE),
            self._read_one(LEASES, CONTROLLER_ACCOUNT),
            self._read_one(CONFIG_MAPS, BUNDLE_CONFIG_MAP),
        )
        server, collected, tried, _ = await asyncio.gather(
            self._server(),
            collect(self._client, self._namespace),
            self._trial(trial_namespace) if trial else _nothing(),
            asyncio.gather(*reads),
        )
        if collected.view is None:
            self._unread[Asked.EVIDENCE] = "; ".join(collected.problems)
        return self._facts(server, trial=tried, evidence=collected.view)

    def _facts(self, server: _Server, **found: Any) -> Facts:
        return Facts(
            at=server.at,
            own_version=__version__,
            namespace=self._namespace,
            version=server.version,
            ahead=server.ahead,
            served=server.served,
            objects=self._objects,
            pods=tuple(map(parse_pod, self._objects.get(PODS, ()))),
            namespaces={each["metadata"]["name"]: parse_namespace(each) for each in self._objects.get(NAMESPACES, ())},
            unread=self._unread,
            unserved=frozenset(self._unserved),
            **found,
        )

    async def _server(self) -> _Server:
        version, groups, policies = await asyncio.gather(
            self._client.get("/version"), self._client.get("/apis"), self._client.get(_POLICIES)
        )
        # Asked alone, so that nothing but its own way is between the two clocks.
        sent = datetime.now(UTC)
        date = await self._client.date()
        ours = sent + (datetime.now(UTC) - sent) / 2
        served = {each["groupVersion"] for group in groups.get("groups") or () for each in group["versions"]}
        served |= {each["kind"] for each in policies.get("resources") or ()}
        # A Date has whole seconds: half a one is as near as it comes.
        at = date + timedelta(seconds=0.5) if date is not None else ours
        return _Server(str(version.get("gitVersion")), at, at - ours, frozenset(served))

    async def _read(self, kind: Kind, namespace: str = "") -> None:
        try:
            self._objects[kind] = await self._reader.many(kind, namespace)
        except ApiError as problem:
            self._refused(kind, problem)

    async def _read_one(self, kind: Kind, name: str) -> None:
        try:
            found = await self._reader.one(kind, self._namespace, name)
            self._objects[kind] = [] if found is None else [found]
        except ApiError as problem:
            self._refused(kind, problem)

    def _refused(self, kind: Kind, problem: ApiError) -> None:
        if problem.status == 404 and _UNSERVED in problem.message:
            self._unserved.add(kind)
        elif problem.status == 403:
            self._unread[kind] = forbidden(problem)
        else:
            raise problem

    async def _rights(self) -> dict[Right, bool]:
        wanted = install_rights(self._namespace)
        try:
            answers = await asyncio.gather(*(self._client.create(_REVIEWS, _review(each)) for each in wanted))
        except ApiError as problem:
            self._unread[Asked.RIGHTS] = f"your rights cannot be asked for: {problem.message}"
            return {}
        return {
            right: bool((answer.get("status") or {}).get("allowed"))
            for right, answer in zip(wanted, answers, strict=True)
        }

    async def _trial(self, namespace: str) -> str:
        """What the API server says to a pod that opts in, which is not kept; empty: it gets its sidecar."""
        where = "default" if namespace in ("kube-system", self._namespace) else namespace
        try:
            made = await self._client.create(PODS.within(where), _POD, dry_run=True)
        except ApiError as problem:
            if _OURS in problem.message and "denied the request" not in problem.message:
                return problem.message
            if _OURS not in problem.message:
                why = forbidden(problem) if problem.status == 403 else problem.message
                self._unread[Asked.TRIAL] = f"a pod cannot be tried in the namespace {where} (-n names another): {why}"
            return ""
        except (aiohttp.ClientError, TimeoutError) as problem:
            self._unread[Asked.TRIAL] = f"the API server did not answer for a pod that opts in: {problem}"
            return ""
        names = [each["name"] for each in made["spec"].get("initContainers") or ()]
        return "" if PROXY_CONTAINER in names else "the API server creates it without a sidecar"


async def _nothing() -> str:
    return ""


def _review(right: Right) -> Json:
    resource, _, subresource = right.resource.partition("/")
    asked = {"verb": right.verb, "group": right.group, "resource": resource, "namespace": right.namespace}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked | ({"subresource": subresource} if subresource else {})},
    }


_POD: Final[Json] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "generateName": "handfast-check-",
        "labels": {LABEL_INJECT: INJECT_ENABLED},
        "annotations": {ANNOTATION_INTERCEPTION: INTERCEPTION_NONE},
    },
    "spec": {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "check",
                "image": "handfast-check",
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    },
}
"""In explicit mode and with no privilege, so that every namespace takes it."""
