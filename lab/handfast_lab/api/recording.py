"""Events, as the parts of a cluster write them about its objects: what happens again is counted."""

import logging
import secrets
from datetime import UTC, datetime
from typing import Any, Literal

from handfast_lab.api.port import Api
from handfast_lab.api.problems import ApiProblem

log = logging.getLogger(__name__)
Json = dict[str, Any]


class Events:
    """Those of one part about one object."""

    def __init__(self, api: Api, component: str, about: Json, host: str = "") -> None:
        self._api = api
        self._component = component
        self._host = host
        self._about = {
            **{key: about[key] for key in ("apiVersion", "kind")},
            **{key: about["metadata"][key] for key in ("name", "namespace", "uid")},
        }
        self._written: dict[tuple[str, str, str], tuple[str, int]] = {}

    async def record(self, kind: Literal["Normal", "Warning"], reason: str, message: str, container: str = "") -> None:
        """Never fails: a namespace that goes takes no Events, and what they are about lives on without them."""
        now, namespace = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), self._about["namespace"]
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
                    "source": {"component": self._component, "host": self._host},
                    "reportingComponent": self._component,
                    "reportingInstance": self._host,
                }
            )
        except ApiProblem as problem:
            log.debug("an event is not written", extra={"reason": reason, "detail": problem.message})
