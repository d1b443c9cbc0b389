"""Everything that the checks look at, as it was gathered; and what could not be, which is never taken for nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from handfast_operator.cluster import kinds
from handfast_operator.cluster.kinds import PODS, SECRETS, Kind
from handfast_operator.cluster.objects import Namespace, Pod
from handfast_operator.cluster.parts import COMPONENT_LABEL, INSTANCE_LABEL, PARTS
from handfast_operator.evidence.view import EvidenceView
from handfast_sidecar.wellknown import LABEL_AUTHORITY

Raw = Mapping[str, Any]
NOTHING: Final[Mapping[str, Any]] = {}


class Asked(StrEnum):
    """What is asked of a cluster beside its objects."""

    EVIDENCE = "evidence"
    """Of the directory's replicas."""
    TRIAL = "trial"
    """A pod that opts in, created without being kept (dryRun)."""
    RIGHTS = "rights"
    """Of the user, by SelfSubjectAccessReviews."""


@dataclass(frozen=True, slots=True)
class Right:
    """Something that somebody may do; a resource with its subresource after a slash."""

    verb: str
    group: str
    resource: str
    namespace: str = ""

    def __str__(self) -> str:
        kind = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {kind}" + (f" in the namespace {self.namespace}" if self.namespace else "")


@dataclass(frozen=True)
class Facts:
    """Of one look: collections of the whole cluster, or of the operator's namespace where no check needs more."""

    at: datetime
    """By the API server's clock."""
    own_version: str
    """Of this program."""
    namespace: str
    """Where Handfast is installed, or is to be."""
    version: str = ""
    """Of Kubernetes, such as `v1.33.1`."""
    ahead: timedelta = timedelta()
    """How far the API server's clock is ahead of this machine's."""
    served: frozenset[str] = frozenset()
    """Groups and versions that the API server has, such as `apps/v1`."""
    objects: Mapping[Kind, Sequence[Raw]] = field(default_factory=dict)
    pods: Sequence[Pod] = ()
    """Of the whole cluster, as `objects[PODS]` has them."""
    namespaces: Mapping[str, Namespace] = field(default_factory=dict)
    evidence: EvidenceView | None = None
    trial: str = ""
    """What the API server said to the trial; empty: the pod got its sidecar."""
    rights: Mapping[Right, bool] = field(default_factory=dict)
    """Of the user, as far as they were asked."""
    unread: Mapping[Kind | Asked, str] = field(default_factory=dict)
    """What could not be looked at, and why."""
    unserved: frozenset[Kind] = frozenset()
    """Kinds that this cluster does not have."""

    def of(self, kind: Kind) -> Sequence[Raw]:
        """All objects of a kind that were read."""
        return self.objects.get(kind, ())

    @property
    def upgrade(self) -> str:
        """The command that brings back what the chart has."""
        labels = (self.of(DEPLOYMENTS)[0]["metadata"].get("labels") or {}) if self.of(DEPLOYMENTS) else {}
        release = labels.get(INSTANCE_LABEL, "handfast")
        return f"helm upgrade {release} charts/handfast -n {self.namespace} --reset-then-reuse-values"

    def named(self, kind: Kind, name: str) -> Raw | None:
        """One of them."""
        return next((each for each in self.of(kind) if each["metadata"]["name"] == name), None)

    def own_pods(self, component: str) -> list[Raw]:
        """Of one of the operator's parts, as they were read."""
        return [
            each
            for each in self.of(OWN_PODS)
            if (each["metadata"].get("labels") or {}).get(COMPONENT_LABEL) == component
        ]


OWN_PODS: Final = replace(PODS, selector=PARTS)
"""Those of the operator's namespace."""
DEPLOYMENTS: Final = replace(kinds.DEPLOYMENTS, selector=PARTS)
AUTHORITIES: Final = replace(SECRETS, selector=LABEL_AUTHORITY, metadata_only=True)
"""The Secrets that keep authorities, without what is in them."""
