"""What the controller knows of the cluster, and the reflectors that keep it true."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import (
    ACCESS_GRANTS,
    CLUSTER_MTLS_POLICIES,
    MTLS_POLICIES,
    NAMESPACES,
    PODS,
    SECRETS_META,
    SERVICES,
    TRUST_DOMAINS,
    Kind,
)
from handfast_operator.cluster.objects import Namespace, Pod, SecretMeta, parse_namespace, parse_pod, parse_secret_meta
from handfast_operator.cluster.reflector import Reflector
from handfast_operator.cluster.services import Service, parse_service
from handfast_operator.cluster.store import Store
from handfast_operator.controller.expiry import Expiry
from handfast_operator.controller.revoked import RevokedNow
from handfast_operator.health import waiting_for
from handfast_operator.policy.compile import DEFAULT_TTL
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.access import AccessGrant
from handfast_operator.resources.parse import parse_cluster_mtls_policy, parse_mtls_policy, parse_trust_domain
from handfast_operator.resources.parse_access import parse_access_grant
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy
from handfast_operator.resources.trust_domain import TrustDomain
from handfast_sidecar.errors import HandfastError

_Followed = tuple[Kind, Store[Any], Callable[[Any], Any]]


class HistoryWentBack(HandfastError):
    """What this process remembers of the API server never happened."""

    def __init__(self, plural: str) -> None:
        super().__init__(
            f"the API server's history went back (seen in its {plural}): etcd was restored from a copy, or this is"
            " another cluster. The controller starts again, so as to believe nothing that it remembers"
        )


def _start_again(plural: str, _before: int) -> None:
    raise HistoryWentBack(plural)


class Stores:
    """All of them, filled before the controller leads."""

    def __init__(self, client: ApiClient, trust_domain: str) -> None:
        self.pods = Store[Pod]()
        self.services = Store[Service]()
        self.namespaces = Store[Namespace]()
        self.secrets = Store[SecretMeta]()
        self.policies = Store[MtlsPolicy]()
        self.cluster_policies = Store[ClusterMtlsPolicy]()
        self.grants = Store[AccessGrant]()
        self.trust_domains = Store[TrustDomain]()
        self.revoked = RevokedNow(trust_domain, self.trust_domains)
        self.index = PolicyIndex(
            self.pods, self.namespaces, self.policies, self.cluster_policies, trust_domain, self.grants
        )
        self.expiry = Expiry(self.index, self.grants)
        followed: list[_Followed] = [
            # Policies and namespaces first: the first pod is judged by all of them.
            (NAMESPACES, self.namespaces, parse_namespace),
            (MTLS_POLICIES, self.policies, parse_mtls_policy),
            (CLUSTER_MTLS_POLICIES, self.cluster_policies, parse_cluster_mtls_policy),
            (ACCESS_GRANTS, self.grants, parse_access_grant),
            (TRUST_DOMAINS, self.trust_domains, parse_trust_domain),
            (SERVICES, self.services, parse_service),
            (SECRETS_META, self.secrets, parse_secret_meta),
            (PODS, self.pods, parse_pod),
        ]
        self.reflectors: list[Reflector[Any]] = [
            Reflector(client, kind, store, parse, went_back=_start_again) for kind, store, parse in followed
        ]

    async def synced(self) -> None:
        """Until all first lists are complete."""
        for reflector in self.reflectors:
            await reflector.wait_synced()

    def not_ready(self) -> list[str]:
        """Which lists are missing."""
        return waiting_for(
            namespaces=self.namespaces,
            policies=self.policies,
            cluster_policies=self.cluster_policies,
            grants=self.grants,
            trust_domains=self.trust_domains,
            services=self.services,
            secrets=self.secrets,
            pods=self.pods,
        )

    def addresses(self) -> list[str]:
        """Of pods and Services, for a guess at the cluster's ranges."""
        pods = (ip for pod in self.pods if not pod.host_network for ip in pod.ips)
        return [*pods, *(ip for service in self.services for ip in service.cluster_ips)]

    def longest_leaf_ttl(self) -> timedelta:
        """That any policy asks for, and what holds without one."""
        asked = (each.spec.ttl for store in (self.policies, self.cluster_policies) for each in store)
        return max((DEFAULT_TTL, *(ttl for ttl in asked if ttl is not None)))
