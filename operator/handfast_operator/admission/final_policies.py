"""What final policies demand of a namespace, asked of the API server."""

from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import CLUSTER_MTLS_POLICIES
from handfast_operator.policy.compile import PolicySet, policy_chain
from handfast_operator.policy.final import Demand, demands
from handfast_operator.resources.parse import parse_cluster_mtls_policy
from handfast_operator.resources.selectors import Labels


class FinalPolicies:
    """By the labels of a namespace."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def asked(self, namespace: str, labels: Labels) -> tuple[Demand, ...]:
        """As the API server has them now. Raises ApiError, OSError or TimeoutError."""
        found = await self._client.get(CLUSTER_MTLS_POLICIES.path)
        policies = PolicySet(tuple(map(parse_cluster_mtls_policy, found.get("items") or ())))
        return demands(policy_chain(namespace, {}, labels, policies))
