"""What `approve` and `deny` share: the request, who answers and when, and the grant that is written.

The one rule: whether somebody may answer is the API server's decision, by RBAC on AccessGrants; nothing here checks it.
"""

import argparse
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from handfast_operator.cli.errors import NO, USAGE, CliError
from handfast_operator.cli.interrupting import agrees
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import ACCESS_GRANTS, ACCESS_REQUESTS, PODS, SELF_SUBJECT_REVIEWS
from handfast_operator.resources.answer import grant_name, printable, told_ports, told_selector
from handfast_operator.resources.parse_access import parse_time

Json = dict[str, Any]
READER: Final = "handfast-request-reader"
"""The ClusterRole that lets somebody read what is asked from other namespaces."""
MANAGER: Final = "handfast-cli"


@dataclass(frozen=True, slots=True)
class Answerer:
    """Who answers, as the API server knows him, and its time of day: an end by a laptop's clock would be anybody's."""

    name: str
    now: datetime


def answer_arguments(parser: argparse.ArgumentParser) -> None:
    """What both verbs take."""
    parser.add_argument("request", metavar="NAMESPACE/NAME", help="the AccessRequest, with the namespace that asks")
    parser.add_argument("--answer", default="", metavar="TEXT", help="a sentence for who asked; it stays in the grant")
    parser.add_argument(
        "--generation", type=int, default=0, metavar="N", help="refuse if the request has changed since this generation"
    )
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask whether it is meant")


async def read_request(args: argparse.Namespace, client: ApiClient) -> Json:
    """The request, which asks for something in the namespace of `-n`. Raises CliError, ApiError."""
    namespace, slash, name = args.request.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise CliError(f"{args.request!r} is no request: write NAMESPACE/NAME, such as web/front", USAGE)
    try:
        request = await client.get(ACCESS_REQUESTS.item(namespace, name))
    except ApiError as error:
        if error.status == 404:
            raise CliError(f"there is no AccessRequest {namespace}/{name}: {error.message}") from error
        if error.status == 403:
            raise CliError(
                f"you may not read AccessRequests in {namespace}: an administrator can bind the ClusterRole {READER} to"
                f" you, there or in the whole cluster ({error.message})"
            ) from error
        raise
    target, generation = request["spec"]["target"]["namespace"], request["metadata"].get("generation", 1)
    if target != args.namespace:
        raise CliError(
            f"{namespace}/{name} asks for pods of {target}, and not of {args.namespace}: with -n {target} you answer it"
            " there",
            USAGE,
        )
    if args.generation and generation != args.generation:
        raise CliError(
            f"{namespace}/{name} has changed: it is generation {generation} now, and not {args.generation};"
            f" look at it again: handfast requests -n {target}",
            NO,
        )
    return request


async def who_answers(client: ApiClient) -> Answerer:
    """By a SelfSubjectReview; an API server that answers none (before Kubernetes 1.28) leaves the name empty."""
    try:
        review = await client.create(
            SELF_SUBJECT_REVIEWS.path, {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        )
    except ApiError:
        return Answerer("", datetime.now(UTC))
    stamp = (review.get("metadata") or {}).get("creationTimestamp")
    user = ((review.get("status") or {}).get("userInfo") or {}).get("username") or ""
    return Answerer(str(user), parse_time(stamp) if stamp else datetime.now(UTC))


async def asked(request: Json, client: ApiClient) -> str:
    """What is asked, in sentences; with the number of pods where we may count them."""
    meta, spec = request["metadata"], request["spec"]
    accounts = ", ".join(f"{meta['namespace']}/{each}" for each in spec["serviceAccounts"])
    target, selector = spec["target"]["namespace"], told_selector(spec["target"]["selector"])
    pods = await _count_pods(client, target, selector)
    return (
        f"{accounts} ask to call {told_ports(spec.get('ports'))} of the pods {selector} of {target}{pods}"
        f" for {spec['duration']}:\n  {printable(spec['reason'])}"
    )


def confirm(args: argparse.Namespace, question: str) -> None:
    """Ask, where a person can answer; raises CliError for a no."""
    if args.yes or not sys.stdin.isatty():
        return
    if not agrees(question):
        raise CliError("nothing was answered", NO)


async def write_grant(grant: Json, request: Json, client: ApiClient) -> Json:
    """Create it. Raises CliError where it may not be, or where somebody has answered already; ApiError."""
    namespace = grant["metadata"]["namespace"]
    try:
        return await client.create(ACCESS_GRANTS.within(namespace), grant, manager=MANAGER)
    except ApiError as error:
        if error.status == 403:
            raise CliError(
                f"you may not create AccessGrants in {namespace}, so the answer is not yours: ask one who has the role"
                f" admin there ({error.message})",
                NO,
            ) from error
        if error.status == 409:
            raise CliError(await _answered_already(request, namespace, client), NO) from error
        raise


async def _answered_already(request: Json, namespace: str, client: ApiClient) -> str:
    name = grant_name(request)
    words = f"AccessGrant {namespace}/{name} answers it already"
    try:
        spec = (await client.get(ACCESS_GRANTS.item(namespace, name)))["spec"]
        end = f" until {spec['expiresAt']}" if spec.get("expiresAt") else ""
        by = f", by {printable(spec['answeredBy'])}" if spec.get("answeredBy") else ""
        words += f": {spec['decision']}{end}{by}"
    except ApiError:
        pass
    return f"{words}. To answer anew, delete it first: kubectl delete accessgrant -n {namespace} {name}"


async def _count_pods(client: ApiClient, namespace: str, selector: str) -> str:
    try:
        found = await client.get(PODS.within(namespace), {"labelSelector": selector})
    except ApiError:
        return ""
    count = len(found.get("items") or ())
    return f" ({count} now)" if count else " (none has these labels now)"
