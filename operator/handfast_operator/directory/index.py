"""Who lives at an address, and whose answers a change of the cluster changes. Pure over the reflectors' stores.

The one rule: an endpoint that may be a meshed pod is never answered as plaintext. Where a slice names a pod that the
index does not know yet, the endpoint is left out until it does; and so it is under an address that the pod does not
have: users may write slices too, with the name of one pod and the address of another.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from handfast_operator.cluster.objects import Key, Pod
from handfast_operator.cluster.services import EndpointSlice, Service, SliceEndpoint
from handfast_operator.cluster.store import Store
from handfast_operator.directory.holders import PodAddresses, addresses_of
from handfast_operator.directory.service_answer import Found, service_answer
from handfast_sidecar.directory.messages import (
    AddressAnswer,
    Endpoint,
    NobodyAddress,
    PodAddress,
    Transport,
)
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import EffectivePolicy, Mode


class Compiled(Protocol):
    @property
    def policy(self) -> EffectivePolicy: ...


class Policies(Protocol):
    """What is needed of `policy.index.PolicyIndex`."""

    def compiled(self, pod: Pod) -> Compiled: ...
    @property
    def revision(self) -> int: ...
    def subscribe(self, listener: Callable[[Pod], None]) -> None: ...


class AddressIndex:
    """Answers by address; `changed` is called with the addresses whose answers may have changed."""

    def __init__(
        self,
        trust_domain: str,
        pods: Store[Pod],
        services: Store[Service],
        slices: Store[EndpointSlice],
        policies: Policies,
        *,
        changed: Callable[[Iterable[str]], None] = lambda _addresses: None,
    ) -> None:
        self._trust_domain = trust_domain
        self._policies = policies
        self.changed = changed
        self._pods = PodAddresses()
        self._services: dict[Key, Service] = {}
        self._by_cluster_ip: dict[str, Key] = {}
        self._slices: dict[Key, dict[Key, EndpointSlice]] = {}
        """By Service."""
        self._referring: dict[str, dict[Key, int]] = {}
        """By pod UID, or by address where a slice names no pod: the Services behind it, with how often they do."""
        pods.subscribe(self._pod_changed)
        services.subscribe(self._service_changed)
        slices.subscribe(self._slice_changed)
        policies.subscribe(self._policy_changed)

    def pod(self, uid: str) -> Pod | None:
        """The pod of this UID, whether or not it has an address."""
        return self._pods.pod(uid)

    def pod_at(self, address: str) -> Pod | None:
        """The pod that lives at an address now; none of those on their node's network."""
        return self._pods.holder(address)

    def service_at(self, address: str) -> Key | None:
        """The Service that has this cluster IP."""
        return self._by_cluster_ip.get(address)

    def identity(self, pod: Pod) -> SpiffeId:
        """Derived from its service account alone."""
        return SpiffeId.of_service_account(self._trust_domain, pod.namespace, pod.service_account)

    def answer(self, address: str) -> AddressAnswer:
        """What lives at an address now."""
        service_key = self._by_cluster_ip.get(address)
        if service_key is not None:
            slices = self._slices.get(service_key, {}).values()
            return service_answer(address, self._services[service_key], slices, self._found)
        pod = self._pods.holder(address)
        return self._pod_answer(address, pod) if pod is not None else NobodyAddress(address)

    # --- answers

    def _transport(self, pod: Pod, policy: EffectivePolicy, port: int | None = None) -> Transport:
        rule = policy.default if port is None else policy.rule_for(port)
        return Transport.TUNNEL if pod.meshed and rule.mode is not Mode.DISABLED else Transport.PLAINTEXT

    def _pod_answer(self, address: str, pod: Pod) -> PodAddress:
        policy = self._policies.compiled(pod).policy
        default = self._transport(pod, policy)
        by_port = ((port, self._transport(pod, policy, port)) for port in policy.ports)
        exceptions = {port: transport for port, transport in by_port if transport is not default}
        tunnelled = default is Transport.TUNNEL or bool(exceptions)
        return PodAddress(
            address=address,
            name=f"{pod.namespace}/{pod.name}",
            uid=pod.uid,
            transport=default,
            identity=self.identity(pod) if tunnelled else None,
            exceptions=exceptions,
        )

    def _found(self, end: SliceEndpoint, port: int) -> Found | None:
        if end.pod_uid:
            pod = self._pods.pod(end.pod_uid)
            if pod is None or pod.terminal or end.address not in pod.ips:
                return None
        else:
            pod = self._pods.holder(end.address)
            if pod is None:
                # Behind a Service's address there may be meshed pods, of which a dial to it would know nothing.
                return Found(Endpoint(end.address, port)) if end.address not in self._by_cluster_ip else None
        transport = self._transport(pod, self._policies.compiled(pod).policy, port)
        identity = self.identity(pod) if transport is Transport.TUNNEL else None
        return Found(Endpoint(end.address, port, transport, identity, pod.uid), pod.deleting)

    # --- changes

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if before is not None and after is not None and before.uid == after.uid and _facts(before) == _facts(after):
            self._pods.put(after)
            return
        touched: set[str] = set()
        for pod in (before, after):
            if pod is not None:
                touched |= self._touched_by(pod)
        if before is not None and (after is None or after.uid != before.uid):
            self._pods.remove(before.uid)
        if after is not None:
            self._pods.put(after)
        self.changed(touched)

    def _policy_changed(self, pod: Pod) -> None:
        self.changed(self._touched_by(pod))

    def _touched_by(self, pod: Pod) -> set[str]:
        touched = set(addresses_of(pod))
        for reference in (pod.uid, *pod.ips):
            for service in self._referring.get(reference, ()):
                touched |= self._cluster_ips(service)
        return touched

    def _cluster_ips(self, key: Key) -> set[str]:
        service = self._services.get(key)
        return set(service.cluster_ips) if service is not None else set()

    def _service_changed(self, before: Service | None, after: Service | None) -> None:
        if before is not None:
            for address in before.cluster_ips:
                if self._by_cluster_ip.get(address) == before.key:
                    del self._by_cluster_ip[address]
            del self._services[before.key]
        if after is not None:
            self._services[after.key] = after
            self._by_cluster_ip.update(dict.fromkeys(after.cluster_ips, after.key))
        touched = {address for each in (before, after) if each is not None for address in each.cluster_ips}
        referring = [service for address in touched for service in self._referring.get(address, ())]
        self.changed(touched.union(*map(self._cluster_ips, referring)))

    def _slice_changed(self, before: EndpointSlice | None, after: EndpointSlice | None) -> None:
        if before is not None and after is not None and _joined(before) == _joined(after):
            return
        if before is not None:
            service = (before.namespace, before.service)
            del self._slices[service][before.key]
            if not self._slices[service]:
                del self._slices[service]
            for end in before.endpoints:
                self._unrefer(end.pod_uid or end.address, service)
        if after is not None:
            service = (after.namespace, after.service)
            self._slices.setdefault(service, {})[after.key] = after
            for end in after.endpoints:
                counts = self._referring.setdefault(end.pod_uid or end.address, {})
                counts[service] = counts.get(service, 0) + 1
        services = {(each.namespace, each.service) for each in (before, after) if each is not None}
        self.changed({address for key in services for address in self._cluster_ips(key)})

    def _unrefer(self, reference: str, service: Key) -> None:
        counts = self._referring[reference]
        counts[service] -= 1
        if not counts[service]:
            del counts[service]
        if not counts:
            del self._referring[reference]


def _facts(pod: Pod) -> tuple[object, ...]:
    """What answers are made of; a pod's status changes far more often than any of it."""
    return (pod.ips, pod.meshed, pod.service_account, pod.deleting, pod.terminal, pod.host_network)


def _joined(each: EndpointSlice) -> tuple[object, ...]:
    return (each.service, each.ports, each.endpoints)
