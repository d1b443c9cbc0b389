"""`handfast deny`: answer a request with no. The AccessGrant that it writes has no effect but to tell."""

import argparse
from typing import Final

from handfast_operator.cli.answering import answer_arguments, asked, confirm, read_request, who_answers, write_grant
from handfast_operator.cli.errors import YES
from handfast_operator.cli.output import show, warn
from handfast_operator.cluster.client import ApiClient
from handfast_operator.resources.access import Decision
from handfast_operator.resources.answer import grant_for

NAME: Final = "deny"
HELP: Final = "answer an AccessRequest with no"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own."""
    answer_arguments(parser)


async def run(args: argparse.Namespace, client: ApiClient) -> int:
    """Write the denial; the exit code. Raises CliError, ApiError."""
    request = await read_request(args, client)
    question = await asked(request, client)
    if args.output in ("table", "wide"):
        warn(question)
    confirm(args, "Deny it?")
    answerer = await who_answers(client)
    grant = grant_for(request, Decision.DENY, answer=args.answer, answered_by=answerer.name)
    written = await write_grant(grant, request, client)
    show(args, written, lambda: f"AccessGrant {args.namespace}/{written['metadata']['name']} denies it")
    return YES
