"""`uninject`: takes out of manifests what `inject`, or the webhook, put into them."""

import argparse
from typing import Any, Final

from handfast_operator.admission.manual import Told
from handfast_operator.admission.probes import UnusableProbe
from handfast_operator.admission.removal import uninject
from handfast_operator.admission.shape import BadShape, check_pod
from handfast_operator.cli.errors import NO, YES
from handfast_operator.cli.inject import filename, tell, write
from handfast_operator.cli.manifests import read
from handfast_operator.cli.output import warn
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.templates import places, replaced

NAME: Final = "uninject"
HELP: Final = "take the sidecar out of manifests"
_TAKEN_OUT: Final = "taken out"
_NOTHING: Final = "nothing to take out"
_KEPT_OUT: Final = "kept out"
_REFUSED: Final = "refused"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Out of what."""
    filename(parser)
    parser.add_argument(
        "--disable", action="store_true", help="and keep it out, in a namespace that is labelled for injection too"
    )


def without_cluster(_args: argparse.Namespace) -> bool:
    """A manifest has all that is needed."""
    return True


async def run(args: argparse.Namespace, _client: ApiClient | None) -> int:
    """Exit code 0; 1 where a probe's original is not known, and then nothing is printed. Raises CliError."""
    documents = read(args.filename)
    told: list[Told] = []
    values = [_without(each.value, told, disable=args.disable) for each in documents]
    refused = [each for each in told if each.outcome == _REFUSED]
    if refused:
        for each in refused:
            warn(str(each))
        return NO
    write(args, documents, values)
    tell(told)
    return YES


def _without(document: Any, told: list[Told], *, disable: bool) -> Any:
    for place in places(document):
        try:
            pod = uninject(check_pod(place.pod), disable=disable)
        except (BadShape, UnusableProbe) as error:
            told.append(Told(str(place), _REFUSED, str(error)))
            continue
        changed = pod != place.pod
        if changed:
            document = replaced(document, place.path, pod)
        told.append(Told(str(place), (_KEPT_OUT if disable else _TAKEN_OUT) if changed else _NOTHING))
    return document
