"""What the directory's replicas know of who talked to whom: each is asked on the loopback of its own pod.

Who may forward ports there may read it: that right is `pods/portforward` (get and create) in the operator's namespace.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Final

import aiohttp

from handfast_operator.cli.errors import forbidden
from handfast_operator.cluster import port_forward
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import PODS
from handfast_operator.cluster.objects import Pod, parse_pod
from handfast_operator.cluster.parts import COMPONENT_LABEL, PARTS
from handfast_operator.evidence.view import EvidenceView, from_json, merge
from handfast_sidecar.errors import BadInput
from handfast_sidecar.wellknown import EVIDENCE_PORT

PATH: Final = "/evidence"
TIMEOUT_S: Final = 5.0
"""For all replicas together, which are asked at the same time."""
_REPLICAS: Final = f"{PARTS},{COMPONENT_LABEL}=directory"


@dataclass(frozen=True, slots=True)
class Collected:
    """One view of all who answered."""

    view: EvidenceView | None
    """None: nobody did."""
    asked: int
    problems: tuple[str, ...] = ()
    """A sentence for each that did not answer."""


async def collect(client: ApiClient, namespace: str) -> Collected:
    """Ask all replicas. Never raises: whoever cannot be asked is a problem in the answer."""
    try:
        items = (await client.get(PODS.within(namespace), {"labelSelector": _REPLICAS})).get("items") or ()
    except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
        return Collected(None, 0, (_told("the directory's pods", error),))
    pods = [pod for pod in map(parse_pod, items) if pod.phase == "Running" and not pod.deleting]
    if not pods:
        return Collected(None, 0, (f"no handfast-directory runs in the namespace {namespace}",))
    answers = await asyncio.gather(*(_ask(client, pod) for pod in pods))
    views = [each for each in answers if isinstance(each, EvidenceView)]
    problems = tuple(each for each in answers if isinstance(each, str))
    return Collected(merge(views) if views else None, len(pods), problems)


async def _ask(client: ApiClient, pod: Pod) -> EvidenceView | str:
    try:
        answer = await port_forward.get(client, pod.namespace, pod.name, EVIDENCE_PORT, PATH, TIMEOUT_S)
        if answer.status != 200:
            return f"{pod.name} answered {PATH} with HTTP status {answer.status}"
        return from_json(json.loads(answer.body))
    except ApiError as error:
        if error.status == 403:
            # The refusal of a WebSocket has no words of the API server's.
            return (
                f"{pod.name} cannot be asked: a Role with the right to get and create pods/portforward in the "
                f"namespace {pod.namespace} is missing"
            )
        return _told(pod.name, error)
    except (port_forward.ForwardFailed, BadInput, aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return _told(pod.name, error)


def _told(what: str, error: Exception) -> str:
    if isinstance(error, ApiError) and error.status == 403:
        return f"{what} cannot be asked: {forbidden(error)}"
    if isinstance(error, port_forward.ForwardFailed):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"{what} did not answer within {TIMEOUT_S:g} s"
    return f"{what} cannot be asked: {error}"
