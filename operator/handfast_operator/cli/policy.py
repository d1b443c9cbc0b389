"""`policy effective POD`: what holds for a pod, each field with the object that says so, and the chain behind it."""

import argparse
from typing import Any, Final

from handfast_operator.cli.errors import UNKNOWN, YES
from handfast_operator.cli.lookup import pods_of
from handfast_operator.cli.output import show, table, warn
from handfast_operator.cli.reader import Reader
from handfast_operator.cli.subject import parse_subject
from handfast_operator.cli.words import said_text
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.objects import Pod
from handfast_operator.explain.explanation import chain_of
from handfast_operator.explain.fields import fields
from handfast_operator.explain.parties import Client, pod_text, pod_to_json
from handfast_operator.explain.world import World

NAME: Final = "policy"
HELP: Final = "what the policies make of a pod: policy effective POD"


def arguments(parser: argparse.ArgumentParser) -> None:
    """`effective`, and the pod."""
    parser.add_argument(
        "what", choices=("effective",), help="the compiled policy of a pod, with the origin of each field"
    )
    parser.add_argument("pod", metavar="POD", help="POD, deployment/NAME (one of its pods); or NAMESPACE/ and that")


async def run(args: argparse.Namespace, client: ApiClient) -> int:
    """Exit code 0; 3 where a policy that may decide could not be read. Raises CliError, ApiError."""
    reader = Reader(client)
    pod = (await pods_of(reader, parse_subject(args.pod, args.namespace)))[0]
    world = World(await reader.facts({pod.namespace}, pods=(pod,)))
    show(args, document(world, pod), lambda: text(world, pod))
    if args.output in ("table", "wide"):
        for each in (*world.facts.unread, *world.facts.notes):
            warn(each)
    return UNKNOWN if world.facts.unread else YES


def document(world: World, pod: Pod) -> dict[str, Any]:
    """As data (docs/cli.md)."""
    compiled = world.compiled(pod)
    return {
        "version": 1,
        "pod": pod_to_json(pod, Client.of(pod, world.trust_domain).identity),
        "fields": [each.to_json() for each in fields(compiled, world.trust_domain)],
        "policies": [each.to_json() for each in chain_of(world, pod)],
        "compiled": compiled.policy.to_json(),
        "unread": list(world.facts.unread),
        "notes": list(world.facts.notes),
    }


def text(world: World, pod: Pod) -> str:
    """As people read it."""
    decided = fields(world.compiled(pod), world.trust_domain)
    head = f"{pod_text(pod)[0].upper()}{pod_text(pod)[1:]}"
    if not pod.meshed:
        head += "\nIt has no sidecar, so none of this is enforced for it."
    chain = chain_of(world, pod)
    says = [
        (link.origin if not number else "", link.level if not number else "", said)
        for link in chain
        for number, said in enumerate([*map(said_text, link.said)] or ["says nothing"])
    ]
    told = table(("POLICY, STRONGEST FIRST", "LEVEL", "SAYS"), says) if chain else "No policy selects it."
    return "\n\n".join((head, table(("FIELD", "VALUE", "FROM"), [(e.name, e.text, e.origin) for e in decided]), told))
