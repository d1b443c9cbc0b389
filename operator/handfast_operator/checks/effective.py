"""What the policies make of each pod, from the facts of a look."""

from collections.abc import Callable

from handfast_operator.checks.facts import Facts
from handfast_operator.cluster.kinds import CLUSTER_MTLS_POLICIES, MTLS_POLICIES
from handfast_operator.cluster.objects import Pod
from handfast_operator.policy.compile import PolicySet, compile_policy
from handfast_operator.resources.parse import parse_cluster_mtls_policy, parse_mtls_policy
from handfast_operator.resources.selectors import Labels
from handfast_sidecar.policy.effective import EffectivePolicy


def labels_of(facts: Facts) -> Callable[[str], Labels]:
    """Labels by the name of a namespace."""

    def labels(namespace: str) -> Labels:
        found = facts.namespaces.get(namespace)
        return found.labels if found is not None else {}

    return labels


def effective_policies(facts: Facts) -> Callable[[Pod], EffectivePolicy]:
    """Compiled as the directory does; grants are left out, which no mode depends on."""
    parsed = [parse_mtls_policy(each) for each in facts.of(MTLS_POLICIES)]
    names = {each.namespace for each in parsed}
    policies = PolicySet(
        tuple(map(parse_cluster_mtls_policy, facts.of(CLUSTER_MTLS_POLICIES))),
        {name: tuple(each for each in parsed if each.namespace == name) for name in names},
    )
    labels = labels_of(facts)

    def effective(pod: Pod) -> EffectivePolicy:
        return compile_policy(pod.namespace, pod.labels, labels(pod.namespace), policies, "").policy

    return effective
