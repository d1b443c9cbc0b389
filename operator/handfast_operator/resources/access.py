"""AccessRequest and AccessGrant: what somebody asks for, and what the owner answers (docs/access.md).

The one rule: a request has no effect. A grant has, on the pods of its own namespace, until it ends.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from handfast_operator.cluster.objects import Key
from handfast_operator.resources.selectors import Labels, LabelSelector


class Decision(StrEnum):
    """What the owner answers."""

    APPROVE = "Approve"
    DENY = "Deny"


@dataclass(frozen=True, slots=True)
class Callers:
    """Service accounts of one namespace."""

    namespace: str
    service_accounts: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(f"{self.namespace}/{each}" for each in self.service_accounts)


@dataclass(frozen=True, slots=True)
class RequestRef:
    """The request that a grant answers; the UID tells it from a later one of the same name."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """`let me call you`, asked in the caller's namespace for its own service accounts."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: datetime
    service_accounts: tuple[str, ...]
    target_namespace: str
    selector: LabelSelector
    ports: frozenset[int] | None
    """None: every port; empty: none."""
    reason: str
    duration: timedelta

    @property
    def callers(self) -> Callers:
        """Of its own namespace: it has no field that could name another."""
        return Callers(self.namespace, self.service_accounts)


@dataclass(frozen=True, slots=True)
class AccessGrant:
    """The answer, in the namespace of the pods that it is about."""

    namespace: str
    name: str
    uid: str
    resource_version: int
    generation: int
    created: datetime
    decision: Decision
    request: RequestRef | None
    """None: nobody asked, the owner decided by himself."""
    callers: Callers
    selector: LabelSelector
    ports: frozenset[int] | None
    """None: every port; empty: none."""
    reason: str
    answer: str
    answered_by: str
    """What the answerer said of himself; empty: nothing."""
    expires_at: datetime | None
    """Of an approval always there."""

    @property
    def key(self) -> Key:
        return (self.namespace, self.name)

    @property
    def origin(self) -> str:
        """As refusals and logs name it."""
        return f"AccessGrant {self.namespace}/{self.name}"

    @property
    def until(self) -> int:
        """Unix seconds from which on it lets nobody in; 0: it never did."""
        if self.decision is not Decision.APPROVE or self.expires_at is None:
            return 0
        return max(int(self.expires_at.timestamp()), 0)

    def selects(self, namespace: str, labels: Labels) -> bool:
        """Whether it is about such a pod: of its own namespace alone."""
        return namespace == self.namespace and self.selector.matches(labels)

    def answers(self, request: AccessRequest) -> bool:
        """Whether it is the answer to this request: only the namespace that was asked can answer."""
        return self.namespace == request.target_namespace and self.request == RequestRef(
            request.namespace, request.name, request.uid
        )
