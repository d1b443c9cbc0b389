"""Events about pods, as kubelet writes them: what happens again is counted."""

import logging
import secrets
from datetime import UTC, datetime
from typing import Final, Literal

from handfast_lab.api.port import Api
from handfast_lab.api.problems import ApiProblem
from handfast_lab.node.seams import Json
from handfast_lab.node.status import timestamp

log = logging.getLogger(__name__)
_COMPONENT: Final = "kubelet"


class Events:
    """Those about one pod."""

    def __init__(self, api: Api, node: str, pod: Json) -> None:
        self._api = api
        self._node = node
        self._about = {
            "apiVersion": "v1",
            "kind": "Pod",
            **{key: pod["metadata"][key] for key in ("name", "namespace", "uid")},
        }
        self._written: dict[tuple[str, str, str], tuple[str, int]] = {}

    async def record(self, kind: Literal["Normal", "Warning"], reason: str, message: str, container: str = "") -> None:
        """Never fails: a namespace that goes takes no Events, and a pod lives on without them."""
        now, namespace = timestamp(datetime.now(UTC)), self._about["namespace"]
        key = (reason, message, container)
        name, count = self._written.get(key, (f"{self._about['name']}.{secrets.token_hex(8)}", 0))
        self._written[key] = (name, count + 1)
        try:
            if count:
                await self._api.patch("events", namespace, name, {"count": count + 1, "lastTimestamp": now})
                return
            about = {**self._about, **({"fieldPath": f"spec.containers{{{container}}}"} if container else {})}
            await self._api.create(
                {
                    "apiVersion": "v1",
                    "kind": "Event",
                    "metadata": {"name": name, "namespace": namespace},
                    "involvedObject": about,
                    "type": kind,
                    "reason": reason,
                    "message": message,
                    "count": 1,
                    "firstTimestamp": now,
                    "lastTimestamp": now,
                    "source": {"component": _COMPONENT, "host": self._node},
                    "reportingComponent": _COMPONENT,
                    "reportingInstance": self._node,
                }
            )
        except ApiProblem as problem:
            log.debug("an event is not written", extra={"reason": reason, "detail": problem.message})
