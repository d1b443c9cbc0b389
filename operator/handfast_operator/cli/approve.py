"""`handfast approve`: let in whom a request asks for, until a time; the answer is an AccessGrant."""

import argparse
from datetime import timedelta
from typing import Final

from handfast_operator.cli.answering import answer_arguments, asked, confirm, read_request, who_answers, write_grant
from handfast_operator.cli.errors import USAGE, YES, CliError
from handfast_operator.cli.output import show, warn
from handfast_operator.cluster.client import ApiClient
from handfast_operator.resources.access import Decision
from handfast_operator.resources.answer import grant_for
from handfast_operator.resources.durations import parse_duration
from handfast_operator.resources.times import format_time

NAME: Final = "approve"
HELP: Final = "let in whom an AccessRequest asks for, for the time that it asks for or for less"
SHORTEST: Final = timedelta(minutes=1)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own."""
    answer_arguments(parser)
    parser.add_argument(
        "--for", dest="duration", default="", metavar="DURATION", help="less than was asked, such as 2h or 1h30m"
    )


async def run(args: argparse.Namespace, client: ApiClient) -> int:
    """Write the grant; the exit code. Raises CliError, ApiError."""
    request = await read_request(args, client)
    duration = _duration(args.duration, request["spec"]["duration"])
    question = await asked(request, client)
    if args.output in ("table", "wide"):
        warn(question)
    confirm(args, "Let them in?")
    answerer = await who_answers(client)
    grant = grant_for(
        request,
        Decision.APPROVE,
        expires_at=answerer.now + duration,
        answer=args.answer,
        answered_by=answerer.name,
    )
    written = await write_grant(grant, request, client)
    name, end = f"{args.namespace}/{written['metadata']['name']}", format_time(answerer.now + duration)
    show(args, written, lambda: f"AccessGrant {name} lets them in until {end}")
    return YES


def _duration(given: str, asked_for: str) -> timedelta:
    """What is granted: never more than was asked."""
    most = parse_duration(asked_for)
    if not given:
        return most
    try:
        chosen = parse_duration(given)
    except ValueError as error:
        raise CliError(f"--for: {error}", USAGE) from error
    if chosen > most:
        raise CliError(f"--for {given} is more than the request asks for: {asked_for} at most", USAGE)
    if chosen < SHORTEST:
        raise CliError(f"--for {given} is too short: give a minute at least, or use handfast deny", USAGE)
    return chosen
