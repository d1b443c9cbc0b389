"""What tests ask of a root rotation, and what they see of it in the TrustDomain."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from cluster.cluster import Cluster
from cluster.mesh import TRUST_DOMAIN, until
from handfast_operator.cluster.access import read_kubeconfig
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import SECRETS, TRUST_DOMAINS
from handfast_sidecar.wellknown import LABEL_AUTHORITY

Json = dict[str, Any]
BROUGHT_S = 300
"""kubelet brings a changed Secret within 100 s, and a rotation changes each twice; the lab's node is faster."""


@dataclass(frozen=True)
class Roots:
    """The authorities, and how far their rotation is."""

    states: dict[str, str]
    """By the authority's name."""
    rotation: Json

    @property
    def signing(self) -> list[str]:
        return [name for name, state in self.states.items() if state == "Active"]

    @property
    def idle(self) -> bool:
        return self.rotation.get("state") == "Idle"

    @property
    def named(self) -> set[str]:
        """Pods that it waits for."""
        return {each["pod"] for each in self.rotation.get("stragglers", ())}


def roots(cluster: Cluster) -> Roots:
    """As the status tells them."""
    status = _get(cluster, TRUST_DOMAINS.item("", TRUST_DOMAIN)).get("status") or {}
    states = {each["name"]: each["state"] for each in status.get("authorities", ())}
    return Roots(states, status.get("rotation") or {})


def signing(cluster: Cluster) -> str:
    """The authority that signs, when nothing is under way."""

    def look() -> str:
        found = roots(cluster)
        return found.signing[0] if found.idle and len(found.states) == len(found.signing) == 1 else ""

    return until("no rotation is under way", look, BROUGHT_S)


def steer(cluster: Cluster, **fields: object) -> None:
    """Fields of spec.rotation; None takes one away."""
    patch = json.dumps({"spec": {"rotation": fields}})
    cluster("patch", "trustdomain", TRUST_DOMAIN, "--type=merge", "-p", patch)


def until_replaced(cluster: Cluster, old: str) -> str:
    """Until another authority signs and this one is trusted no more; the other one."""

    def look() -> bool:
        found = roots(cluster)
        return found.idle and old not in found.states and len(found.signing) == 1

    until(f"{old} is replaced", look, BROUGHT_S)
    return signing(cluster)


def answered(cluster: Cluster, namespace: str, authority: str) -> str:
    """Which word of spec.rotation.trigger an authority is the answer to."""
    meta = _get(cluster, SECRETS.item(namespace, authority))["metadata"]
    return str(meta["annotations"].get("handfast.dev/trigger", ""))


def kept(cluster: Cluster, namespace: str) -> dict[str, str]:
    """The states as the authorities' Secrets have them, by name."""
    found = _get(cluster, SECRETS.within(namespace), {"labelSelector": LABEL_AUTHORITY})
    return {each["metadata"]["name"]: each["metadata"]["annotations"]["handfast.dev/state"] for each in found["items"]}


def _get(cluster: Cluster, path: str, params: dict[str, str] | None = None) -> Json:
    """Without kubectl, which costs a process each time that it is asked."""

    async def get() -> Json:
        async with ApiClient.connect(read_kubeconfig(cluster.kubeconfig)) as client:
            return await client.get(path, params)

    return asyncio.run(get())
