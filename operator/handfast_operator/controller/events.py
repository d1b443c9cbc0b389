"""Events: what the owner of an object must know, said where `kubectl describe` shows it (events.k8s.io/v1).

The one rule: an Event is a courtesy. It is never waited for, never fails its sender, and is said once an hour at most.
"""

import asyncio
import logging
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import EVENTS
from handfast_operator.cluster.objects import Pod
from handfast_sidecar.identity.clock import utc_now

log = logging.getLogger(__name__)

AGAIN_S: Final = 3600.0
"""Seconds after which the same Event is said again."""
MAX_REMEMBERED: Final = 20_000
IN_FLIGHT: Final = 4
MAX_WAITING: Final = 1000
"""Events that may wait to be written; more are dropped, and counted in the log."""
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


def about_pod(pod: Pod) -> Regarding:
    """A pod."""
    return Regarding("v1", "Pod", pod.namespace, pod.name, pod.uid)


class EventWriter:
    """Writes Events in the background."""

    def __init__(self, client: ApiClient, reporter: str, operator_namespace: str) -> None:
        self._client = client
        self._reporter = reporter
        self._namespace = operator_namespace
        self._said: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._queue: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue(MAX_WAITING)

    def say(self, regarding: Regarding, kind: str, reason: str, note: str) -> None:
        """`kind` is Normal or Warning, `reason` CamelCase, `note` a sentence with the remedy."""
        key, now = (regarding.uid, reason, note), time.monotonic()
        if now - self._said.get(key, -AGAIN_S) < AGAIN_S:
            return
        self._said[key] = now
        self._said.move_to_end(key)
        if len(self._said) > MAX_REMEMBERED:
            self._said.popitem(last=False)
        namespace = regarding.namespace or self._namespace
        try:
            self._queue.put_nowait((namespace, self._event(namespace, regarding, kind, reason, note)))
        except asyncio.QueueFull:
            log.warning("event dropped: too many wait", extra={"reason": reason, "object": regarding.name})

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(self._write())

    async def _write(self) -> None:
        while True:
            namespace, event = await self._queue.get()
            try:
                await self._client.create(EVENTS.within(namespace), event)
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                log.info("event not written", extra={"reason": event["reason"], "error": str(error)})

    def _event(self, namespace: str, regarding: Regarding, kind: str, reason: str, note: str) -> dict[str, Any]:
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{regarding.name[:200]}.{uuid.uuid4().hex[:16]}", "namespace": namespace},
            "eventTime": utc_now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
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
