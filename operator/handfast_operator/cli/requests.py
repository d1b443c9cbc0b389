"""`handfast requests`: who asks to call the pods of a namespace, the open ones first.

They are asked in the namespaces of the callers, so that the one who is asked needs the right to read them there.
"""

import argparse
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from handfast_operator.cli.answering import READER
from handfast_operator.cli.errors import YES, CliError
from handfast_operator.cli.output import ago, show, table
from handfast_operator.cli.reader import Raw, Reader
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import ACCESS_REQUESTS
from handfast_operator.resources.answer import printable, told_ports, told_selector
from handfast_operator.resources.parse_access import parse_time

NAME: Final = "requests"
HELP: Final = "list the AccessRequests for pods of a namespace, the open ones first"
_HEADERS: Final = ("REQUEST", "CALLERS", "PODS", "PORTS", "FOR", "STATE", "GENERATION", "AGE", "REASON")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own."""
    parser.add_argument("--open", action="store_true", help="only those that nobody has answered")


async def run(args: argparse.Namespace, client: ApiClient) -> int:
    """List them; the exit code. Raises CliError, ApiError."""
    try:
        listed = await Reader(client).many(ACCESS_REQUESTS)
    except ApiError as error:
        if error.status != 403:
            raise
        raise CliError(
            "requests are asked in the namespaces of the callers, and you may not list AccessRequests of the whole"
            f" cluster: an administrator can bind the ClusterRole {READER} to you ({error.message})"
        ) from error
    found = [each for each in listed if each["spec"]["target"]["namespace"] == args.namespace]
    if args.open:
        found = [each for each in found if state(each) == "Pending"]
    found.sort(key=lambda each: (state(each) != "Pending", each["metadata"]["creationTimestamp"]))
    show(args, {"items": found}, lambda: _table(found, args.namespace))
    return YES


def state(request: Mapping[str, Any]) -> str:
    """As the operator sees it; what it has not looked at yet is pending."""
    conditions = (request.get("status") or {}).get("conditions") or ()
    return next((str(each["reason"]) for each in conditions if each["type"] == "Active"), "Pending")


def _table(found: Sequence[Raw], namespace: str) -> str:
    if not found:
        return f"Nobody asks to call pods of {namespace}."
    now = datetime.now(UTC)
    return table(_HEADERS, [_row(each, now) for each in found])


def _row(request: Raw, now: datetime) -> list[str]:
    meta, spec = request["metadata"], request["spec"]
    return [
        f"{meta['namespace']}/{meta['name']}",
        ",".join(spec["serviceAccounts"]),
        told_selector(spec["target"]["selector"]),
        told_ports(spec.get("ports")),
        spec["duration"],
        state(request),
        str(meta.get("generation", 1)),
        ago((now - parse_time(meta["creationTimestamp"])).total_seconds()),
        printable(spec["reason"]),
    ]
