"""Events: what the owner of an object must know, said where `kubectl describe` shows it (events.k8s.io/v1).

The one rule: an Event is a courtesy. It is never waited for, never fails its sender, is said once an hour at most (of a
workload once, not of each of its pods), and a thousand of them do not keep the API server from its work.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import aiohttp

from handfast_operator.cluster.client import ApiError
from handfast_operator.cluster.kinds import EVENTS
from handfast_operator.cluster.objects import Pod
from handfast_operator.controller.timing import SystemTime, Time, TokenBucket

log = logging.getLogger(__name__)

AGAIN: Final = timedelta(hours=1)
"""After which the same Event is said again."""
CLUSTER_SCOPED: Final = "default"
"""Where the API server asks for Events about objects that have no namespace."""
MAX_REMEMBERED: Final = 20_000
RATE: Final = 20.0
"""Events per second on average."""
BURST: Final = 50
MAX_WAITING: Final = 1000
"""Events that may wait to be written; more are dropped, and may be said again."""
NOTE_BYTES: Final = 1024
"""The API server's limit for an Event's note."""


@dataclass(frozen=True, slots=True)
class Regarding:
    """The object that an Event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    subject: str = ""
    """What it stands for, where others of its kind may be told of in the same words: then only the first one is. Empty:
    itself."""


def about_pod(pod: Pod) -> Regarding:
    """A pod."""
    return Regarding("v1", "Pod", pod.namespace, pod.name, pod.uid)


def about_workload(pod: Pod) -> Regarding:
    """A pod that stands for all that its owner made: a thousand need no thousand Events, and `kubectl describe` of the
    first one of each rollout shows it."""
    subject = f"{pod.namespace}/{pod.owner}" if pod.owner else ""
    return Regarding("v1", "Pod", pod.namespace, pod.name, pod.uid, subject)


class Api(Protocol):
    """What is needed of the API server; `cluster.client.ApiClient` has it."""

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]: ...


class EventWriter:
    """Writes Events in the background."""

    def __init__(self, api: Api, reporter: str, time: Time | None = None) -> None:
        self._api = api
        self._reporter = reporter
        self._time = time or SystemTime()
        self._said: OrderedDict[tuple[str, str, str], datetime] = OrderedDict()
        self._queue: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue(MAX_WAITING)
        self._dropped = 0

    def say(self, regarding: Regarding, kind: str, reason: str, note: str) -> None:
        """`kind` is Normal or Warning, `reason` CamelCase, `note` a sentence with the remedy."""
        key, now = (regarding.subject or regarding.uid, reason, note), self._time.now()
        said = self._said.get(key)
        if said is not None and now - said < AGAIN:
            return
        namespace = regarding.namespace or CLUSTER_SCOPED
        try:
            self._queue.put_nowait((namespace, self._event(namespace, regarding, kind, reason, note)))
        except asyncio.QueueFull:
            self._dropped += 1
            return
        self._said[key] = now
        self._said.move_to_end(key)
        if len(self._said) > MAX_REMEMBERED:
            self._said.popitem(last=False)

    async def run(self) -> None:
        """Write until cancelled."""
        bucket = TokenBucket(RATE, BURST, self._time)
        while True:
            namespace, event = await self._queue.get()
            await bucket.take()
            try:
                await self._api.create(EVENTS.within(namespace), event)
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                if isinstance(error, ApiError) and error.status == 409:
                    continue  # it is still there to be read
                log.info("event not written", extra={"reason": event["reason"], "error": str(error)})
            if self._dropped and self._queue.empty():
                log.warning("events dropped: too many waited", extra={"count": self._dropped})
                self._dropped = 0

    def _event(self, namespace: str, regarding: Regarding, kind: str, reason: str, note: str) -> dict[str, Any]:
        now = self._time.now()
        hour = now.strftime("%Y-%m-%dT%H")
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            # Named after its words and the hour: a controller that starts again does not say them twice.
            "metadata": {
                "name": f"{regarding.name[:200]}.{_digest(regarding.subject or regarding.uid, reason, note, hour)}",
                "namespace": namespace,
            },
            "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "type": kind,
            "reason": reason,
            "action": reason,
            "note": note.encode()[:NOTE_BYTES].decode(errors="ignore"),
            "reportingController": "handfast.dev/controller",
            "reportingInstance": self._reporter[:128],
            "regarding": {
                "apiVersion": regarding.api_version,
                "kind": regarding.kind,
                "namespace": regarding.namespace,
                "name": regarding.name,
                "uid": regarding.uid,
            },
        }


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
