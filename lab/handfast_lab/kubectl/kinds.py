"""Which kind a word of the command line means, and where the server keeps its objects.

The one rule: built-in kinds are known without a question, as most commands name no other.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from handfast_lab.kubectl.calls import Server, segment
from handfast_lab.kubectl.refusals import Stop

Json = dict[str, Any]
_DISCOVERY: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind, in the version that is used."""

    group: str
    version: str
    name: str
    plural: str
    namespaced: bool
    short: tuple[str, ...] = ()
    built_in: bool = False
    """Lists of such kinds have keys that patches go by."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """As refusals name it: `pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def told(self, name: str) -> str:
        """As kubectl names an object: `pod/web`, `deployment.apps/web`."""
        return f"{self.name.lower()}{'.' * bool(self.group)}{self.group}/{name}"

    def path(self, namespace: str, name: str = "", sub: str = "") -> str:
        """Of the collection or of one object; without a namespace that of all."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        within = f"/namespaces/{segment(namespace)}" if self.namespaced and namespace else ""
        return "/".join([f"{root}{within}/{self.plural}", *(segment(each) for each in (name, sub) if each)])

    def names(self) -> set[str]:
        """What it is called on a command line, in lower case."""
        plain = {self.plural, self.name.lower(), *self.short}
        grouped = {f"{each}.{self.group}" for each in plain} | {f"{each}.{self.version}.{self.group}" for each in plain}
        return plain | (grouped if self.group else set())


def _built_in() -> Iterator[Kind]:
    for line in _TABLE.splitlines():
        api_version, scope, *entries = line.split()
        group, _, version = api_version.rpartition("/")
        for entry in entries:
            kind, plural, *short = f"{entry}:".split(":")
            yield Kind(
                group,
                version,
                kind,
                plural or f"{kind.lower()}s",
                scope == "ns",
                tuple(filter(None, short)),
                built_in=True,
            )


_TABLE: Final = """\
v1 ns Pod::po Service::svc Secret ConfigMap::cm ServiceAccount::sa Event::ev Endpoints:endpoints:ep LimitRange::limits
v1 ns PersistentVolumeClaim::pvc ReplicationController::rc ResourceQuota::quota
v1 all Namespace::ns Node::no PersistentVolume::pv
apps/v1 ns Deployment::deploy ReplicaSet::rs DaemonSet::ds StatefulSet::sts
batch/v1 ns Job CronJob::cj
discovery.k8s.io/v1 ns EndpointSlice
coordination.k8s.io/v1 ns Lease
networking.k8s.io/v1 ns NetworkPolicy:networkpolicies:netpol Ingress:ingresses:ing
networking.k8s.io/v1 all ServiceCIDR
policy/v1 ns PodDisruptionBudget::pdb
rbac.authorization.k8s.io/v1 ns Role RoleBinding
rbac.authorization.k8s.io/v1 all ClusterRole ClusterRoleBinding
apiextensions.k8s.io/v1 all CustomResourceDefinition::crd:crds
admissionregistration.k8s.io/v1 all MutatingWebhookConfiguration ValidatingWebhookConfiguration
admissionregistration.k8s.io/v1 all ValidatingAdmissionPolicy:validatingadmissionpolicies
admissionregistration.k8s.io/v1 all ValidatingAdmissionPolicyBinding"""
"""Kind, plural where it is not the kind with an s, short names."""
BUILT_IN: Final = tuple(_built_in())


class Kinds:
    """The kinds of a server; it is asked when a name is not built in."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def named(self, word: str) -> Kind:
        """Plural, singular, kind or short name, perhaps with its group. Raises Stop, Refusal."""
        wanted = word.lower()
        for found in (BUILT_IN, self._custom(), self._core()):
            for each in found:
                if wanted in each.names():
                    return each
        raise Stop(f'error: the server doesn\'t have a resource type "{word.partition(".")[0]}"')

    def of(self, body: Json) -> Kind | None:
        """What a manifest says it is. Raises Stop, Refusal."""
        wanted = body["apiVersion"], body["kind"]
        for found in (BUILT_IN, self._custom(), self._core()):
            for each in found:
                if (each.api_version, each.name) == wanted:
                    return each
        return None

    def all(self) -> list[Kind]:
        """Everything that the server has."""
        return [*self._core(), *self._custom()]

    def _core(self) -> Iterable[Kind]:
        return self._discover("/api")

    def _custom(self) -> Iterable[Kind]:
        return self._discover("/apis")

    def _discover(self, path: str) -> Iterator[Kind]:
        """Asked anew each time: a manifest may have just defined what its next document is."""
        for group in self._server.ask("GET", path, accept=_DISCOVERY)["items"]:
            for version in group["versions"]:
                for each in version["resources"]:
                    kind = (each.get("responseKind") or {}).get("kind", "")
                    short, within = tuple(each.get("shortNames") or ()), each["scope"] == "Namespaced"
                    name = group["metadata"].get("name", "")
                    yield Kind(name, version["version"], kind, each["resource"], within, short)
