"""Which kinds of objects there are, and where each lives.

The one rule: a kind is named by its plural and group (`pods`, `deployments.apps`); each is served in one version.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from handfast_lab.api.problems import ApiProblem

Json = dict[str, Any]
CRDS: Final = "customresourcedefinitions.apiextensions.k8s.io"


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    conditional: bool = False
    """Whether an update must say which version it replaces."""
    singular: str = ""
    definition: Json | None = field(default=None, compare=False, repr=False)
    """The CustomResourceDefinition of a custom one."""

    @property
    def name(self) -> str:
        """Its plural and group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_kind(self) -> str:
        """As refusals say it."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def root(self) -> str:
        """The path of its group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def accepts(self, subresource: str) -> bool:
        return not subresource or subresource in self.subresources


_STATUS: Final = frozenset({"status"})
_SCALED: Final = frozenset({"status", "scale"})
_POD: Final = frozenset({"status", "log", "exec", "portforward", "ephemeralcontainers", "eviction"})
_ALL: Final = ("all",)
_ADMISSION: Final = "admissionregistration.k8s.io"
_RBAC: Final = "rbac.authorization.k8s.io"
BUILT_IN: Final = (
    Resource("", "v1", "namespaces", "Namespace", False, ("ns",), (), frozenset({"status", "finalize"})),
    Resource("", "v1", "nodes", "Node", False, ("no",), (), _STATUS),
    Resource("", "v1", "pods", "Pod", True, ("po",), _ALL, _POD),
    Resource("", "v1", "services", "Service", True, ("svc",), _ALL, _STATUS),
    Resource("", "v1", "serviceaccounts", "ServiceAccount", True, ("sa",), (), frozenset({"token"})),
    Resource("", "v1", "secrets", "Secret"),
    Resource("", "v1", "configmaps", "ConfigMap", True, ("cm",)),
    Resource("", "v1", "events", "Event", True, ("ev",)),
    Resource("", "v1", "limitranges", "LimitRange", True, ("limits",)),
    Resource("events.k8s.io", "v1", "events", "Event", True, ("ev",)),
    Resource("apps", "v1", "deployments", "Deployment", True, ("deploy",), _ALL, _SCALED),
    Resource("apps", "v1", "replicasets", "ReplicaSet", True, ("rs",), _ALL, _SCALED),
    Resource("batch", "v1", "jobs", "Job", True, (), _ALL, _STATUS),
    Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
    Resource("coordination.k8s.io", "v1", "leases", "Lease", conditional=True),
    Resource("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", False, ("pc",)),
    Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", True, ("netpol",)),
    Resource("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", False, (), (), _STATUS),
    Resource("apiextensions.k8s.io", "v1", CRDS.partition(".")[0], "CustomResourceDefinition", False, ("crd", "crds"),
             (), _STATUS, True),
    *(
        Resource(_ADMISSION, "v1", f"{kind.lower()}s".replace("policys", "policies"), kind, False, conditional=True)
        for kind in (
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        )
    ),
    *(
        Resource(_RBAC, "v1", f"{kind.lower()}s", kind, not kind.startswith("Cluster"))
        for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    ),
)  # fmt: skip


class Resources:
    """The built-in ones, and those that CustomResourceDefinitions add."""

    def __init__(self, given: Iterable[Resource] = BUILT_IN) -> None:
        self._by_name = {each.name: each for each in given}

    def __iter__(self) -> Iterator[Resource]:
        return iter(tuple(self._by_name.values()))

    def named(self, name: str) -> Resource:
        """By plural and group. Raises ApiProblem."""
        return self._found(self._by_name.get(name))

    def of(self, body: Json) -> Resource:
        """By apiVersion and kind. Raises ApiProblem."""
        asked = (body.get("apiVersion"), body.get("kind"))
        return self._found(next((each for each in self if (each.api_version, each.kind) == asked), None))

    def at(self, group: str, version: str, plural: str) -> Resource:
        """By the words of a path. Raises ApiProblem."""
        asked = (group, version, plural)
        return self._found(next((each for each in self if (each.group, each.version, each.plural) == asked), None))

    def define(self, definition: Json) -> None:
        """Serve what a CustomResourceDefinition says, in its storage version."""
        resource = custom(definition)
        self._by_name[resource.name] = resource

    def forget(self, name: str) -> None:
        """Its CustomResourceDefinition is gone."""
        self._by_name.pop(name, None)

    def behind(self, resource: Resource) -> Resource:
        """The kind that is stored for it: Events are one collection with two faces."""
        return self.named("events") if resource.group == "events.k8s.io" else resource

    @staticmethod
    def _found(resource: Resource | None) -> Resource:
        if resource is None:
            raise ApiProblem(404, "NotFound", "the server could not find the requested resource")
        return resource


def custom(definition: Json) -> Resource:
    """The kind that a CustomResourceDefinition describes."""
    spec = definition["spec"]
    names = spec["names"]
    version = next(each for each in spec["versions"] if each.get("storage"))
    return Resource(
        spec["group"],
        version["name"],
        names["plural"],
        names["kind"],
        spec["scope"] == "Namespaced",
        tuple(names.get("shortNames") or ()),
        tuple(names.get("categories") or ()),
        frozenset(version.get("subresources") or ()) & {"status"},
        True,
        names.get("singular") or names["kind"].lower(),
        definition,
    )
