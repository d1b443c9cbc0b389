"""`why FROM TO:PORT`: would this connection be let through, by which rule, and what was last seen of it?"""

import argparse
import asyncio
from typing import Final

from handfast_operator.cli.errors import NO, UNKNOWN, USAGE, YES, CliError
from handfast_operator.cli.evidence import Collected, collect
from handfast_operator.cli.lookup import Server, pods_of, server_of
from handfast_operator.cli.output import show
from handfast_operator.cli.reader import Reader
from handfast_operator.cli.subject import ACCOUNT, SERVICE, Subject, parse_destination, parse_subject
from handfast_operator.cli.words import text
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import NODES
from handfast_operator.cluster.objects import Pod, parse_node
from handfast_operator.explain.explanation import MIXED, Question, explain
from handfast_operator.explain.parties import Client
from handfast_operator.explain.paths import ALLOWED, AUDITED, REFUSED
from handfast_operator.explain.world import World
from handfast_sidecar.errors import BadSpiffeId
from handfast_sidecar.identity.spiffe import SpiffeId

NAME: Final = "why"
HELP: Final = "whether a connection is let through, by which rule, and what to do if not"
_CODES: Final = {ALLOWED: YES, AUDITED: YES, REFUSED: NO, MIXED: NO}


def arguments(parser: argparse.ArgumentParser) -> None:
    """FROM and TO:PORT."""
    parser.add_argument(
        "source", metavar="FROM", help="who connects: POD, deployment/NAME, serviceaccount/NAME; or NAMESPACE/ and that"
    )
    parser.add_argument(
        "destination",
        metavar="TO:PORT",
        help="likewise, or service/NAME, NAME.NAMESPACE (a Service), or an address; the port by number or name",
    )


async def run(args: argparse.Namespace, client: ApiClient) -> int:
    """Exit code 0: allowed; 1: refused, for one endpoint at least. Raises CliError, ApiError."""
    source = parse_subject(args.source, args.namespace)
    destination, port = parse_destination(args.destination, args.namespace)
    if source.kind == SERVICE:
        raise CliError(f"{args.source}: a Service connects to nobody, its pods do: name one, or its workload", USAGE)
    asking = asyncio.create_task(collect(client, args.operator_namespace))
    try:
        reader = Reader(client)
        pod, server = await asyncio.gather(_client_pod(reader, source), server_of(reader, destination, port))
        zone = await _zone(reader, pod, server)
        pods = (*server.pods, *([pod] if pod is not None else []))
        facts = await reader.facts(
            {source.namespace, *server.namespaces}, pods=pods, services=server.services, slices=server.slices
        )
        collected = await asking
    finally:
        asking.cancel()
    world = World(facts)
    question = Question(
        _client(source, pod, world.trust_domain, zone), server.name, server.port, server.targets, server.service
    )
    explanation = explain(world, question, collected.view, _about(collected))
    show(args, explanation.to_json(), lambda: text(explanation))
    return _CODES.get(explanation.verdict, UNKNOWN)


async def _client_pod(reader: Reader, source: Subject) -> Pod | None:
    return None if source.kind == ACCOUNT else (await pods_of(reader, source))[0]


def _client(source: Subject, pod: Pod | None, trust_domain: str, zone: str) -> Client:
    if pod is not None:
        return Client.of(pod, trust_domain, zone)
    try:
        return Client(SpiffeId.of_service_account(trust_domain, source.namespace, source.name))
    except BadSpiffeId as error:
        raise CliError(f"{source}: {error}", USAGE) from error


async def _zone(reader: Reader, pod: Pod | None, server: Server) -> str:
    """The client's zone, where a hint of an endpoint asks for it."""
    if pod is None or not pod.node or not any(end.zones for each in server.slices for end in each.endpoints):
        return ""
    consequence = "which endpoints are hinted for its zone is not known, all are shown"
    raw = await reader.permitted(reader.one(NODES, "", pod.node), None, consequence, matters=False)
    return parse_node(raw).zone if raw is not None else ""


def _about(collected: Collected) -> list[str]:
    told = "what was last seen is not known" if collected.view is None else "what was last seen may be incomplete"
    return [f"{each}: {told}" for each in collected.problems]
