"""Where each kind of object lives on the API server."""

from dataclasses import dataclass
from typing import Final

from handfast_sidecar.wellknown import API_GROUP, API_VERSION, LABEL_IDENTITY

_OURS: Final = f"/apis/{API_GROUP}/{API_VERSION}"
_ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
_RBAC: Final = "/apis/rbac.authorization.k8s.io/v1"
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
METADATA_ONLY_WATCH: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"


@dataclass(frozen=True, slots=True)
class Kind:
    """A collection: of all namespaces where the kind has them."""

    group_path: str
    """`/api/v1` or `/apis/GROUP/VERSION`."""
    plural: str
    selector: str = ""
    """Label selector that the collection is listed with."""
    metadata_only: bool = False
    """Ask the API server to leave everything but the metadata out."""

    @property
    def path(self) -> str:
        """The whole collection."""
        return f"{self.group_path}/{self.plural}"

    def item(self, namespace: str, name: str) -> str:
        """One object; the namespace of a cluster-scoped one is empty."""
        return f"{self.within(namespace)}/{name}"

    def within(self, namespace: str) -> str:
        """The collection in one namespace."""
        return f"{self.group_path}/namespaces/{namespace}/{self.plural}" if namespace else self.path


PODS: Final = Kind("/api/v1", "pods")
SERVICES: Final = Kind("/api/v1", "services")
NAMESPACES: Final = Kind("/api/v1", "namespaces")
NODES: Final = Kind("/api/v1", "nodes")
NODES_META: Final = Kind("/api/v1", "nodes", metadata_only=True)
SECRETS: Final = Kind("/api/v1", "secrets")
CONFIG_MAPS: Final = Kind("/api/v1", "configmaps")
SECRETS_META: Final = Kind("/api/v1", "secrets", selector=f"{LABEL_IDENTITY}=true", metadata_only=True)
ENDPOINT_SLICES: Final = Kind("/apis/discovery.k8s.io/v1", "endpointslices")
SERVICE_CIDRS: Final = Kind("/apis/networking.k8s.io/v1", "servicecidrs")
NETWORK_POLICIES: Final = Kind("/apis/networking.k8s.io/v1", "networkpolicies")
LEASES: Final = Kind("/apis/coordination.k8s.io/v1", "leases")
EVENTS: Final = Kind("/apis/events.k8s.io/v1", "events")
DEPLOYMENTS: Final = Kind("/apis/apps/v1", "deployments")
DEFINITIONS: Final = Kind("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions")
POD_DISRUPTION_BUDGETS: Final = Kind("/apis/policy/v1", "poddisruptionbudgets")
CLUSTER_ROLES: Final = Kind(_RBAC, "clusterroles")
CLUSTER_ROLE_BINDINGS: Final = Kind(_RBAC, "clusterrolebindings")
ROLES: Final = Kind(_RBAC, "roles")
ROLE_BINDINGS: Final = Kind(_RBAC, "rolebindings")
MUTATING_WEBHOOKS: Final = Kind(_ADMISSION, "mutatingwebhookconfigurations")
VALIDATING_WEBHOOKS: Final = Kind(_ADMISSION, "validatingwebhookconfigurations")
ADMISSION_POLICIES: Final = Kind(_ADMISSION, "validatingadmissionpolicies")
ADMISSION_BINDINGS: Final = Kind(_ADMISSION, "validatingadmissionpolicybindings")
MTLS_POLICIES: Final = Kind(_OURS, "mtlspolicies")
CLUSTER_MTLS_POLICIES: Final = Kind(_OURS, "clustermtlspolicies")
TRUST_DOMAINS: Final = Kind(_OURS, "trustdomains")
ACCESS_REQUESTS: Final = Kind(_OURS, "accessrequests")
ACCESS_GRANTS: Final = Kind(_OURS, "accessgrants")
SELF_SUBJECT_REVIEWS: Final = Kind("/apis/authentication.k8s.io/v1", "selfsubjectreviews")
