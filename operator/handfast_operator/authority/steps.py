"""The steps of a root rotation, and what a plan of them says. Pure values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from handfast_operator.authority.authority import Authority, Signer
from handfast_operator.authority.gates import Straggler, Witness
from handfast_operator.authority.state import AuthorityState
from handfast_operator.resources.trust_domain import RotationSpec


class Phase(StrEnum):
    """As the status tells it."""

    IDLE = "Idle"
    DISTRIBUTING = "Distributing"
    DRAINING = "Draining"
    PAUSED = "Paused"


class Why(StrEnum):
    """Of a step."""

    NEXT = "next"
    """Nothing is waited for in this state, or a step that was begun is finished."""
    EVIDENCE = "evidence"
    FORCE = "force"
    CLOCK = "clock"
    BACK = "back"
    REQUEST = "request"
    AGE = "age"
    ISSUER = "issuer"


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make a new authority, which answers `trigger`."""

    why: Why
    trigger: str


@dataclass(frozen=True, slots=True)
class Move:
    """Write an authority's next state."""

    authority: Authority
    state: AuthorityState
    why: Why
    trigger: str = ""
    """What it answers from then on."""
    left: tuple[Straggler, ...] = ()
    """Who is not waited for."""

    @property
    def forced(self) -> bool:
        """Whether `RotationSpec.force` is obeyed by it."""
        return self.why is Why.FORCE


@dataclass(frozen=True, slots=True)
class Note:
    """Write an authority with another `trigger` or `forced`, in the state in which it is."""

    authority: Authority


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete the Secret of a retired one."""

    authority: Authority


Step = Prepare | Move | Note | Remove


@dataclass(frozen=True, slots=True)
class Situation:
    """What a plan rests on, beside the authorities."""

    spec: RotationSpec
    leaf_ttl: timedelta
    """The longest life of a leaf in force."""
    witnesses: Sequence[Witness] = ()
    source: str | None = ""
    """Fingerprint of the external issuer; empty: our own roots; None: an external one that is of no use."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, or what is waited for."""

    phase: Phase
    message: str
    """A sentence: what it waits for, and what to do."""
    authority: Authority | None = None
    """The one that is on its way."""
    step: Step | None = None
    stragglers: tuple[Straggler, ...] = ()
    look_at: datetime | None = None
    """When to look again, whatever is heard until then; None: after the step."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What an external issuer has for us, as of now."""

    signer: Signer | None
    """To be copied into an authority of its own; None: there is nothing that can be used."""
    refusal: str = ""
    """A sentence, when what its Secret holds now cannot be used; what signs goes on signing."""
    reason: str = ""
    """The same in a stable word (`issuer_certificate.IssuerRefused.reason`)."""

    @property
    def source(self) -> str | None:
        """As `Situation.source`."""
        return self.signer.source if self.signer is not None else None
