"""Whom policies select, and what of these pods the doubts about a policy depend on. Pure.

Pods with equal labels share one chain, so 10,000 pods of 50 workloads cost 50.
"""

from collections.abc import Iterable, Sequence

from handfast_operator.cluster.objects import Pod
from handfast_operator.policy.access import deny_rules
from handfast_operator.policy.compile import PolicySet, policy_chain
from handfast_operator.policy.doubts import Reach
from handfast_operator.policy.final import finals_first
from handfast_operator.resources.policies import Policy
from handfast_operator.resources.selectors import Labels
from handfast_sidecar.policy.effective import EffectivePolicy, Mode
from handfast_sidecar.wellknown import ANNOTATION_INTERCEPTION, SIDECAR_PORTS

Chain = Sequence[Policy]
"""Every policy that selects a pod, the strongest first."""
_DEFAULT = EffectivePolicy().default.mode


def chains_of(pods: Iterable[tuple[Pod, Labels]], policies: PolicySet) -> list[tuple[Pod, Chain]]:
    """The pods that have not ended, each with its chain: one object for pods with equal labels."""
    known: dict[tuple[str, frozenset[tuple[str, str]]], Chain] = {}
    found: list[tuple[Pod, Chain]] = []
    for pod, labels in pods:
        if pod.terminal:
            continue
        key = (pod.namespace, frozenset(pod.labels.items()))
        if key not in known:
            known[key] = policy_chain(pod.namespace, pod.labels, labels, policies)
        found.append((pod, known[key]))
    return found


def reach_of(pods: Sequence[tuple[Pod, Chain]], trust_domain: str) -> Reach:
    """What is common to pods with a sidecar."""
    if not pods:
        return Reach()
    chains = {id(chain): chain for _pod, chain in pods}
    everywhere = frozenset.intersection(*(frozenset(each.uid for each in chain) for chain in chains.values()))
    common = [each for each in next(iter(chains.values())) if each.uid in everywhere]
    ports = {pod.ports: frozenset(each.port for each in pod.ports) - SIDECAR_PORTS for pod, _chain in pods}
    return Reach(
        modes=frozenset(map(_mode, chains.values())),
        declared=frozenset.union(*ports.values()) if all(ports.values()) else None,
        explicit=all(ANNOTATION_INTERCEPTION in pod.around for pod, _chain in pods),
        denied=deny_rules(common, trust_domain).rules,
    )


def _mode(chain: Chain) -> Mode:
    return next((each.spec.mode for each in finals_first(chain) if each.spec.mode is not None), _DEFAULT)
