"""The compiled policy of every pod, kept true while policies, namespaces and pods change. Pure over the stores.

A change recompiles only what it can touch: a policy or a grant its namespace, a cluster policy everything, labels one
pod. Pods with equal labels share one compilation, so 10,000 pods of 50 workloads cost 50. A grant also ends by itself:
`next_expiry` says when, and whoever has a clock calls `expire` then.
"""

import time
from collections.abc import Callable, Iterable

from handfast_operator.cluster.objects import Namespace, Pod
from handfast_operator.cluster.store import Store
from handfast_operator.policy.compile import CompiledPolicy, PolicySet, compile_policy
from handfast_operator.resources.access import AccessGrant
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy
from handfast_operator.resources.selectors import Labels

Listener = Callable[[Pod], None]
CacheKey = tuple[str, tuple[tuple[str, str], ...]]


class PolicyIndex:
    """Answers which policy holds for a pod, and tells who wants to know of each pod for which it changed."""

    def __init__(
        self,
        pods: Store[Pod],
        namespaces: Store[Namespace],
        policies: Store[MtlsPolicy],
        cluster_policies: Store[ClusterMtlsPolicy],
        trust_domain: str,
        grants: Store[AccessGrant] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock`: Unix seconds."""
        self._trust_domain = trust_domain
        self._grants = grants if grants is not None else Store[AccessGrant]()
        self._clock = clock
        self._in_force: dict[str, dict[str, AccessGrant]] = {}
        """Approvals that have not ended: by namespace, then by name."""
        self._pods, self._namespaces = pods, namespaces
        self._policies, self._cluster_policies = policies, cluster_policies
        self._set: PolicySet | None = None
        self._cache: dict[CacheKey, CompiledPolicy] = {}
        self._by_namespace: dict[str, dict[str, Pod]] = {}
        self._listeners: list[Listener] = []
        pods.subscribe(self._pod_changed)
        namespaces.subscribe(self._namespace_changed)
        policies.subscribe(self._policy_changed)
        cluster_policies.subscribe(self._cluster_policy_changed)
        self._grants.subscribe(self._grant_changed)

    @property
    def revision(self) -> int:
        """The highest resourceVersion that the policies rest on: orders what two processes compiled."""
        return max(
            self._policies.revision, self._cluster_policies.revision, self._namespaces.revision, self._grants.revision
        )

    @property
    def trust_domain(self) -> str:
        """Whose service accounts the policies' lists name."""
        return self._trust_domain

    @property
    def namespaces(self) -> Store[Namespace]:
        """The store that the labels of namespaces come from."""
        return self._namespaces

    @property
    def cluster_policies(self) -> Store[ClusterMtlsPolicy]:
        """The store that the policies of the cluster come from."""
        return self._cluster_policies

    @property
    def policies(self) -> PolicySet:
        """All policies, as of now."""
        if self._set is None:
            namespaced: dict[str, list[MtlsPolicy]] = {}
            for policy in self._policies:
                namespaced.setdefault(policy.namespace, []).append(policy)
            self._set = PolicySet(
                tuple(self._cluster_policies),
                {name: tuple(each) for name, each in namespaced.items()},
                {name: tuple(each.values()) for name, each in self._in_force.items() if each},
            )
        return self._set

    def compiled(self, pod: Pod) -> CompiledPolicy:
        """The policy of a pod, whether the store knows it already or not."""
        key = (pod.namespace, tuple(sorted(pod.labels.items())))
        found = self._cache.get(key)
        if found is None:
            labels = self.namespace_labels(pod.namespace)
            found = self._cache[key] = compile_policy(
                pod.namespace, pod.labels, labels, self.policies, self._trust_domain
            )
        return found

    def namespace_labels(self, name: str) -> Labels:
        """Labels of a namespace; of an unknown one, none."""
        namespace = self._namespaces.get("", name)
        return namespace.labels if namespace is not None else {}

    def pods_of(self, namespace: str) -> Iterable[Pod]:
        """The pods of a namespace."""
        return list(self._by_namespace.get(namespace, {}).values())

    def subscribe(self, listener: Listener) -> None:
        """Hear of each known pod whose compiled policy changed."""
        self._listeners.append(listener)

    @property
    def next_expiry(self) -> int | None:
        """When the first of the grants in force ends, in Unix seconds; None: there is none."""
        return min((each.until for named in self._in_force.values() for each in named.values()), default=None)

    def expire(self, now: float) -> None:
        """Let the grants end whose time has come (Unix seconds), as if they had been deleted."""
        touched = []
        for namespace, named in self._in_force.items():
            ended = [name for name, each in named.items() if each.until <= now]
            for name in ended:
                del named[name]
            if ended:
                touched.append(namespace)
        if touched:
            self._set = None
            self._recompile(touched)

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if after is not None:
            self._by_namespace.setdefault(after.namespace, {})[after.name] = after
            if before is not None and before.labels != after.labels and self.compiled(before) != self.compiled(after):
                self._tell(after)
        elif before is not None:
            self._by_namespace.get(before.namespace, {}).pop(before.name, None)

    def _namespace_changed(self, before: Namespace | None, after: Namespace | None) -> None:
        if after is not None and (before is None or before.labels != after.labels):
            self._recompile([after.name])
        elif after is None and before is not None:
            self._forget([before.name])

    def _policy_changed(self, before: MtlsPolicy | None, after: MtlsPolicy | None) -> None:
        changed = after if after is not None else before
        if changed is None or (before is not None and after is not None and _same(before, after)):
            return
        self._set = None
        self._recompile([changed.namespace])

    def _cluster_policy_changed(self, before: ClusterMtlsPolicy | None, after: ClusterMtlsPolicy | None) -> None:
        if before is not None and after is not None and _same(before, after):
            return
        self._set = None
        self._recompile(list(self._by_namespace))

    def _grant_changed(self, before: AccessGrant | None, after: AccessGrant | None) -> None:
        changed = after if after is not None else before
        if changed is None:
            return
        named = self._in_force.setdefault(changed.namespace, {})
        known = named.pop(changed.name, None)
        if after is not None and after.until > self._clock():
            named[after.name] = after
        now = named.get(changed.name)
        if known is not None and now is not None and known.uid == now.uid and known.generation == now.generation:
            return
        if known is not now:
            self._set = None
            self._recompile([changed.namespace])

    def _recompile(self, namespaces: list[str]) -> None:
        """Compile anew, and tell of what changed; what was never compiled has nobody to be told."""
        old = self._forget(namespaces)
        changed: dict[CacheKey, bool] = {}
        for namespace in namespaces:
            for pod in self.pods_of(namespace):
                key = (pod.namespace, tuple(sorted(pod.labels.items())))
                if key in old:
                    if key not in changed:
                        changed[key] = old[key] != self.compiled(pod)
                    if changed[key]:
                        self._tell(pod)

    def _forget(self, namespaces: list[str]) -> dict[CacheKey, CompiledPolicy]:
        gone = set(namespaces)
        old = {key: compiled for key, compiled in self._cache.items() if key[0] in gone}
        for key in old:
            del self._cache[key]
        return old

    def _tell(self, pod: Pod) -> None:
        for listener in self._listeners:
            listener(pod)


def _same(before: MtlsPolicy | ClusterMtlsPolicy, after: MtlsPolicy | ClusterMtlsPolicy) -> bool:
    """Whether only the status changed, and not by a promotion: generation grows with the spec alone."""
    return (
        before.uid == after.uid
        and before.generation == after.generation
        and before.promotion.promoted == after.promotion.promoted
    )
