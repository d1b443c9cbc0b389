"""Reads for a bundle all that belongs to Handfast, and notes what it may not read.

The one rule: no part keeps another from being read. A right that is missing is a line in the bundle and no failure.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import aiohttp

from handfast_operator.admission.refusals import OURS
from handfast_operator.authority.storage import BUNDLE_CONFIG_MAP
from handfast_operator.cli.bundle import Bundle
from handfast_operator.cli.errors import CliError, forbidden
from handfast_operator.cli.lookup import pods_of
from handfast_operator.cli.reader import Reader
from handfast_operator.cli.redaction import metadata_of, only_metadata, pod_of, whole
from handfast_operator.cli.subject import parse_subject
from handfast_operator.cluster import kinds, port_forward
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import Kind
from handfast_operator.cluster.objects import parse_pod
from handfast_operator.cluster.parts import COMPONENT_LABEL, NAME_LABEL, PARTS
from handfast_sidecar.errors import HandfastError
from handfast_sidecar.wellknown import (
    ADMIN_PORT,
    CONTROLLER_HEALTH_PORT,
    DIRECTORY_HEALTH_PORT,
    LABEL_AUTHORITY,
    LABEL_SERVING,
    WEBHOOK_HEALTH_PORT,
)

Raw = Mapping[str, Any]
Make = Callable[[Raw], Any]
AT_ONCE: Final = 8
PATIENCE_S: Final = 20.0
"""For one of all that is read."""
LOG_BYTES: Final = 4 << 20
_OPERATORS: Final = "operator"
_HEALTH: Final = {
    "controller": CONTROLLER_HEALTH_PORT,
    "webhook": WEBHOOK_HEALTH_PORT,
    "directory": DIRECTORY_HEALTH_PORT,
}
_BY_LABEL: Final = (
    kinds.DEFINITIONS,
    kinds.MUTATING_WEBHOOKS,
    kinds.VALIDATING_WEBHOOKS,
    kinds.ADMISSION_POLICIES,
    kinds.ADMISSION_BINDINGS,
    kinds.CLUSTER_ROLES,
    kinds.CLUSTER_ROLE_BINDINGS,
)
"""Of the whole cluster: those of the chart, by their label or by their name."""
_OF_OPERATOR: Final = (
    kinds.SERVICES,
    kinds.LEASES,
    kinds.NETWORK_POLICIES,
    kinds.POD_DISRUPTION_BUDGETS,
    kinds.ROLES,
    kinds.ROLE_BINDINGS,
)
_SCOPED: Final = (kinds.MTLS_POLICIES, kinds.ACCESS_REQUESTS, kinds.ACCESS_GRANTS)


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to have in it."""

    operator: str
    namespace: str
    """Whose policies and pods; empty: all."""
    here: str
    """The namespace of what names none."""
    sidecars: tuple[str, ...]
    lines: int
    """Of each log, the last."""


class Bundling:
    """Into one bundle."""

    def __init__(self, client: ApiClient, bundle: Bundle, asked: Asked) -> None:
        self._client, self._bundle, self._asked = client, bundle, asked
        self._reader = Reader(client)
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """All of it. Raises ClientError, TimeoutError or OSError where there is no API server."""
        self._bundle.data("server-version.json", await self._client.get("/version"))
        await asyncio.gather(
            *self._objects(), self._operator(), *(self._sidecars(each) for each in self._asked.sidecars)
        )

    def _objects(self) -> Iterable[Awaitable[object]]:
        for kind in (kinds.TRUST_DOMAINS, kinds.CLUSTER_MTLS_POLICIES):
            yield self._list(kind, "", f"objects/{kind.plural}.json", whole)
        for kind in _BY_LABEL:
            yield self._list(kind, "", f"objects/{kind.plural}.json", whole, keep=_of_the_chart)
        where = self._asked.namespace
        for kind in _SCOPED:
            yield self._list(kind, where, f"objects/{kind.plural}.json", whole)
        yield self._list(kinds.PODS, where, "objects/pods.json", pod_of, keep=_meshed)
        yield self._list(kinds.SECRETS_META, where, "objects/identity-secrets.json", only_metadata)
        yield self._list(kinds.EVENTS, where, "objects/events.json", _event, keep=_our_event)
        yield self._namespaces(where)

    async def _namespaces(self, where: str) -> None:
        if not where:
            await self._list(kinds.NAMESPACES, "", "objects/namespaces.json", _namespace)
            return
        found = await self._try(f"namespace {where}", self._client.get(kinds.NAMESPACES.item("", where)))
        if found is not None:
            self._bundle.data("objects/namespaces.json", [_namespace(found)])

    async def _operator(self) -> None:
        where = self._asked.operator
        pods = await self._list(kinds.PODS, where, f"{_OPERATORS}/pods.json", _own_pod, labelSelector=PARTS)
        await asyncio.gather(
            *(self._own_words(each) for each in pods),
            self._list(kinds.DEPLOYMENTS, where, f"{_OPERATORS}/deployments.json", _deployment, labelSelector=PARTS),
            self._list(kinds.EVENTS, where, f"{_OPERATORS}/events.json", _event),
            self._config_map(where),
            *(self._list(each, where, f"{_OPERATORS}/{each.plural}.json", whole) for each in _OF_OPERATOR),
            *(
                self._list(
                    replace(kinds.SECRETS, selector=label, metadata_only=True),
                    where,
                    f"{_OPERATORS}/{word}-secrets.json",
                    only_metadata,
                )
                for word, label in (("authority", LABEL_AUTHORITY), ("serving", LABEL_SERVING))
            ),
        )

    async def _config_map(self, where: str) -> None:
        path = kinds.CONFIG_MAPS.item(where, BUNDLE_CONFIG_MAP)
        found = await self._try(f"ConfigMap {where}/{BUNDLE_CONFIG_MAP}", self._client.get(path))
        if found is not None:
            self._bundle.data(f"{_OPERATORS}/bundle.json", whole(found))

    async def _own_words(self, raw: Raw) -> None:
        component = str((raw["metadata"].get("labels") or {}).get(COMPONENT_LABEL) or "")
        if component in _HEALTH:
            await self._words(raw, _OPERATORS, [component], _HEALTH[component])

    async def _sidecars(self, text: str) -> None:
        """Of a pod, or of all pods of a workload."""
        subject = parse_subject(text, self._asked.here)
        found = await self._try(text, pods_of(self._reader, subject))
        for pod in found or ():
            raw = await self._try(f"pod {text}", self._client.get(kinds.PODS.item(pod.namespace, pod.name)))
            if raw is None:
                continue
            folder = f"sidecars/{pod.namespace}"
            self._bundle.data(f"{folder}/{pod.name}/pod.json", pod_of(raw))
            if not pod.meshed:
                self._bundle.lack(f"{folder}/{pod.name}", "the pod has no sidecar")
                continue
            names = {each["name"] for each in raw["spec"].get("initContainers") or ()}
            await self._words(raw, folder, sorted(names & OURS), ADMIN_PORT)

    async def _words(self, raw: Raw, folder: str, containers: Iterable[str], port: int) -> None:
        """Logs, those before the last restart too, and metrics."""
        meta = raw["metadata"]
        namespace, name = meta["namespace"], meta["name"]
        status = raw.get("status") or {}
        states = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
        restarted = {each["name"] for each in states if each.get("restartCount")}
        for container in containers:
            for previous in (False, True) if container in restarted else (False,):
                suffix = "-previous" if previous else ""
                await self._log(
                    namespace, name, container, f"{folder}/{name}/{container}{suffix}.log", previous=previous
                )
        what = f"{folder}/{name}/metrics.txt"
        answer = await self._try(what, port_forward.get(self._client, namespace, name, port, "/metrics"))
        if answer is not None:
            self._bundle.text(what, answer.body.decode(errors="replace"))

    async def _log(self, namespace: str, pod: str, container: str, what: str, *, previous: bool) -> None:
        params = {"container": container, "tailLines": str(self._asked.lines), "limitBytes": str(LOG_BYTES)}
        if previous:
            params["previous"] = "true"
        found = await self._try(what, self._client.text(f"{kinds.PODS.item(namespace, pod)}/log", params))
        if found is not None:
            self._bundle.text(what, found)

    async def _list(
        self,
        kind: Kind,
        namespace: str,
        what: str,
        make: Make,
        *,
        keep: Callable[[Raw], bool] = lambda _raw: True,
        **params: str,
    ) -> list[Raw]:
        found = await self._try(what, self._reader.many(kind, namespace, **params))
        if found is None:
            return []
        kept = [each for each in found if keep(each)]
        self._bundle.data(what, [make(each) for each in kept])
        return kept

    async def _try(self, what: str, reading: Awaitable[Any]) -> Any:
        """What is read; None where it cannot be, which is noted."""
        try:
            async with self._slots, asyncio.timeout(PATIENCE_S):
                return await reading
        except ApiError as error:
            self._bundle.lack(what, forbidden(error) if error.status == 403 else error.message)
        except TimeoutError:
            self._bundle.lack(what, f"no answer within {PATIENCE_S:g} s")
        except (CliError, HandfastError, aiohttp.ClientError, OSError) as error:
            self._bundle.lack(what, str(error) or type(error).__name__)
        return None


def _of_the_chart(raw: Raw) -> bool:
    meta = raw["metadata"]
    name = str(meta["name"])
    labelled = (meta.get("labels") or {}).get(NAME_LABEL) == "handfast"
    return labelled or name == "handfast" or name.startswith("handfast-") or name.endswith(".handfast.dev")


def _meshed(raw: Raw) -> bool:
    return parse_pod(raw).meshed


def _own_pod(raw: Raw) -> Any:
    return pod_of(raw, ours=True)


def _deployment(raw: Raw) -> Any:
    """Its pods as theirs are told."""
    return {**whole(raw), "spec": {**raw["spec"], "template": pod_of(raw["spec"]["template"], ours=True)}}


def _namespace(raw: Raw) -> Any:
    return {"metadata": metadata_of(raw), "status": raw.get("status") or {}}


def _event(raw: Raw) -> Any:
    return {name: value for name, value in raw.items() if name != "metadata"} | {"metadata": metadata_of(raw)}


def _our_event(raw: Raw) -> bool:
    return str(raw.get("reportingController") or "").startswith("handfast.dev/")
