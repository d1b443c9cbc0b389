"""Status of our custom resources, and the trust domain that exists from the first start. kopf lives here alone.

kopf tells which objects were created or changed; the counts in their status change with the pods, so both only mark an
object, and one writer patches what differs. No delete handler, timer or daemon: they would add finalizers, and an
uninstalled operator would leave objects that cannot be deleted. No create or update handler: they annotate.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
import kopf

from handfast_operator.authority.authority import AuthoritySet
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import CLUSTER_MTLS_POLICIES, MTLS_POLICIES, TRUST_DOMAINS, Kind
from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.store import Store
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.policy.status import policy_status
from handfast_operator.resources.conditions import Condition, merge_conditions
from handfast_operator.resources.parse import parse_cluster_mtls_policy, parse_mtls_policy
from handfast_sidecar.identity.bundle import fingerprint
from handfast_sidecar.identity.clock import Clock, utc_now
from handfast_sidecar.wellknown import API_GROUP, API_VERSION

log = logging.getLogger(__name__)

Json = dict[str, Any]
SETTLE_S: Final = 0.5
"""Seconds in which changes are collected: a rollout of a thousand pods is a few writes of a status, not a thousand."""


@dataclass(frozen=True, slots=True)
class Target:
    """An object whose status may be out of date."""

    kind: Kind
    namespace: str
    name: str


class StatusWriter:
    """Computes and patches statuses."""

    def __init__(
        self,
        client: ApiClient,
        index: PolicyIndex,
        pods: Store[Pod],
        authorities: Callable[[], AuthoritySet],
        clock: Clock = utc_now,
    ) -> None:
        self._client = client
        self._index = index
        self._pods = pods
        self._authorities = authorities
        self._clock = clock
        self._targets: set[Target] = set()
        self._all_policies = True
        self._changed = asyncio.Event()
        pods.subscribe(self._pod_changed)

    def mark(self, target: Target) -> None:
        """Look at an object again."""
        self._targets.add(target)
        self._changed.set()

    def mark_policies(self) -> None:
        """Look at every policy again: what one selects, another may decide."""
        self._all_policies = True
        self._changed.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE_S)
            self._changed.clear()
            for target in self._due():
                try:
                    await self._write(target)
                except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                    if isinstance(error, ApiError) and error.status == 404:
                        continue
                    log.warning("status not written, trying again", extra={"object": target.name, "error": str(error)})
                    self.mark(target)

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if _counts(before) != _counts(after):
            self.mark_policies()

    def _due(self) -> list[Target]:
        targets, self._targets = self._targets, set()
        if self._all_policies:
            self._all_policies = False
            policies = self._index.policies
            targets |= {Target(CLUSTER_MTLS_POLICIES, "", each.name) for each in policies.cluster}
            targets |= {
                Target(MTLS_POLICIES, each.namespace, each.name) for own in policies.namespaced.values() for each in own
            }
        return sorted(targets, key=lambda each: (each.kind.plural, each.namespace, each.name))

    async def _write(self, target: Target) -> None:
        path = target.kind.item(target.namespace, target.name)
        raw = await self._client.get(path)
        known = raw.get("status") or {}
        wanted = self._trust_domain(raw) if target.kind == TRUST_DOMAINS else self._policy(target, raw)
        if wanted != {name: known.get(name) for name in wanted}:
            await self._client.patch(f"{path}/status", {"status": wanted})

    def _policy(self, target: Target, raw: Json) -> Json:
        policy = parse_mtls_policy(raw) if target.kind == MTLS_POLICIES else parse_cluster_mtls_policy(raw)
        reach = self._index.pods_of(target.namespace) if target.namespace else list(self._pods)
        pods = [(pod, self._index.namespace_labels(pod.namespace)) for pod in reach]
        status = policy_status(policy, pods, self._index.policies)
        return {
            "conditions": self._merge(raw, status.conditions),
            "selected": status.selected,
            "unmeshed": status.unmeshed,
        }

    def _trust_domain(self, raw: Json) -> Json:
        authorities = self._authorities()
        name = raw["metadata"]["name"]
        if name != authorities.trust_domain:
            condition = Condition(
                "Ready",
                False,
                "NotServed",
                f"the operator issues for {authorities.trust_domain} (chart value trustDomain): this one has no effect",
            )
            return {"conditions": self._merge(raw, [condition]), "authorities": []}
        active = authorities.active
        condition = Condition(
            "Ready", True, "Issuing", f"{active.name} signs until {_time(active.certificate.not_valid_after_utc)}."
        )
        listed = sorted(authorities.authorities, key=lambda each: each.certificate.not_valid_before_utc, reverse=True)
        return {
            "conditions": self._merge(raw, [condition]),
            "authorities": [
                {
                    "name": each.name,
                    "state": each.state.value,
                    "notAfter": _time(each.certificate.not_valid_after_utc),
                    "fingerprint": fingerprint([each.certificate]),
                }
                for each in listed
            ],
        }

    def _merge(self, raw: Json, conditions: Any) -> list[Json]:
        known = (raw.get("status") or {}).get("conditions") or ()
        return merge_conditions(known, conditions, int(raw["metadata"].get("generation", 1)), self._clock())


async def ensure_trust_domain(client: ApiClient, name: str) -> Json:
    """The TrustDomain object of this cluster, made at the first start. Raises ApiError."""
    try:
        return await client.get(TRUST_DOMAINS.item("", name))
    except ApiError as error:
        if error.status != 404:
            raise
    body = {
        "apiVersion": f"{API_GROUP}/{API_VERSION}",
        "kind": "TrustDomain",
        "metadata": {"name": name},
        "spec": {"issuer": {"selfSigned": {}}},
    }
    try:
        return await client.create(TRUST_DOMAINS.path, body)
    except ApiError as error:
        if error.status != 409:
            raise
        return await client.get(TRUST_DOMAINS.item("", name))


def registry_for(writer: StatusWriter) -> kopf.OperatorRegistry:
    """kopf's handlers: each marks an object. `on.event` alone, because it writes nothing to the objects it watches."""
    registry = kopf.OperatorRegistry()

    # kopf's own choice would import the typed client, 80 MB of it, to read two files.
    @kopf.on.login(registry=registry)
    def login(**arguments: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)

    async def policy_changed(**_event: Any) -> None:
        writer.mark_policies()

    async def trust_domain_changed(name: str, **_event: Any) -> None:
        writer.mark(Target(TRUST_DOMAINS, "", name))

    for kind in (MTLS_POLICIES, CLUSTER_MTLS_POLICIES):
        kopf.on.event(API_GROUP, API_VERSION, kind.plural, registry=registry)(policy_changed)
    kopf.on.event(API_GROUP, API_VERSION, TRUST_DOMAINS.plural, registry=registry)(trust_domain_changed)
    return registry


def kopf_settings() -> kopf.OperatorSettings:
    """No Events, no peering, no scanning, finite time-outs."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.watching.server_timeout = 290
    settings.watching.client_timeout = 320
    settings.watching.connect_timeout = 10
    return settings


def _counts(pod: Pod | None) -> tuple[Any, ...]:
    """What of a pod a policy's status depends on."""
    if pod is None or pod.terminal:
        return ()
    return (pod.meshed, tuple(sorted(pod.labels.items())))


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
