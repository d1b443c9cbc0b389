"""As much of a cluster as an explanation is about, put before the operator's own indexes."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from handfast_operator.cluster.objects import Namespace, Pod
from handfast_operator.cluster.services import EndpointSlice, Service
from handfast_operator.cluster.store import Store, Stored
from handfast_operator.directory.index import AddressIndex
from handfast_operator.policy.compile import CompiledPolicy, policy_chain
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.access import AccessGrant
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy, Policy
from handfast_sidecar.directory.messages import PodAddress
from handfast_sidecar.identity.revocation import Revocation, Revocations
from handfast_sidecar.identity.spiffe import SpiffeId

T = TypeVar("T", bound=Stored)


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read of the API server."""

    trust_domain: str
    pods: tuple[Pod, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    policies: tuple[MtlsPolicy, ...] = ()
    cluster_policies: tuple[ClusterMtlsPolicy, ...] = ()
    grants: tuple[AccessGrant, ...] = ()
    services: tuple[Service, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()
    specs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The `spec` of each policy as it is written, by its origin."""
    revoked: tuple[Revocation, ...] = ()
    """Who is trusted no more."""
    notes: tuple[str, ...] = ()
    """What the reader should know of all this."""
    unread: tuple[str, ...] = ()
    """What the answer may rest on and could not be read: with any of it the answer is not known."""


class World:
    """The facts, to be asked as the operator asks them."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.trust_domain = facts.trust_domain
        pods = _store(facts.pods)
        self.policies = PolicyIndex(
            pods,
            _store(facts.namespaces),
            _store(facts.policies),
            _store(facts.cluster_policies),
            facts.trust_domain,
            _store(facts.grants),
        )
        self.addresses = AddressIndex(
            facts.trust_domain,
            pods,
            _store(facts.services),
            _store(facts.slices),
            self.policies,
        )

    def revocation(self, identity: SpiffeId) -> Revocation | None:
        """Why an identity is trusted no more; None: it is."""
        return Revocations(0, self.facts.revoked).of(identity, "", time.time())

    def compiled(self, pod: Pod) -> CompiledPolicy:
        """What holds for a pod."""
        return self.policies.compiled(pod)

    def chain(self, pod: Pod) -> list[Policy]:
        """The policies that select a pod, the strongest first."""
        labels = self.policies.namespace_labels(pod.namespace)
        return policy_chain(pod.namespace, pod.labels, labels, self.policies.policies)

    def pod_at(self, address: str, uid: str = "") -> Pod | None:
        """The pod behind an endpoint, or behind an address alone."""
        if uid:
            return self.addresses.pod(uid)
        answer = self.addresses.answer(address)
        return self.addresses.pod(answer.uid) if isinstance(answer, PodAddress) else None


def _store(items: Iterable[T]) -> Store[T]:
    store = Store[T]()
    for each in items:
        store.put(each)
    return store
