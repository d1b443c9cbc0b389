"""What a policy says that its author can hardly mean: told in the condition `Doubtful`, and never acted on. Pure.

A doubt is a reason for programs and a sentence that says what comes of it and what to do. It rests on facts that stay
while nobody changes anything: it must not come and go by itself.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from handfast_operator.policy.access import allow_rules, deny_rules
from handfast_operator.policy.coverage import covered_by, means_nobody
from handfast_operator.policy.final import is_final
from handfast_operator.policy.strangers import (
    NO_IDENTITY,
    OTHER_TRUST_DOMAIN,
    UNKNOWN_ACCOUNT,
    UNKNOWN_NAMESPACE,
    Existing,
    Stranger,
    strangers,
)
from handfast_operator.policy.words import some
from handfast_operator.resources.conditions import Condition
from handfast_operator.resources.policies import Policy
from handfast_sidecar.policy.authorisation import Rule
from handfast_sidecar.policy.effective import Enforcement, Mode

AUDITED_FOR: Final = timedelta(days=7)
"""How long somebody may try a policy out before he is reminded that it refuses nothing."""
MOST_NAMES: Final = 5
"""Of one kind, in a message."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """One thing to look at."""

    reason: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Reach:
    """Of the pods with a sidecar that a policy selects, what its doubts depend on."""

    modes: frozenset[Mode] = frozenset()
    """What they accept at ports that no entry names."""
    declared: frozenset[int] | None = None
    """Ports that their containers declare; None: not known, because one of them declares none, or there is none."""
    explicit: bool = False
    """Whether all are in explicit mode."""
    denied: tuple[Rule, ...] = ()
    """What is denied for every one of them, by any policy."""


@dataclass(frozen=True, slots=True)
class Case:
    """A policy, and all that it is judged by."""

    policy: Policy
    reach: Reach
    existing: Existing
    now: datetime

    @property
    def allow(self) -> Sequence[Rule] | None:
        found = allow_rules([self.policy], self.existing.trust_domain)
        return found.rules.rules if found is not None else None

    @property
    def deny(self) -> Sequence[Rule]:
        return deny_rules([self.policy], self.existing.trust_domain).rules

    @property
    def modes(self) -> frozenset[Mode]:
        """What the selected pods accept; without one, what the policy says."""
        own = self.policy.spec.mode
        return self.reach.modes or (frozenset({own}) if own is not None else frozenset())

    @property
    def said_ports(self) -> set[int]:
        """Every port that the policy names."""
        spec = self.policy.spec
        rules = (*(spec.allow or ()), *spec.deny)
        return {*spec.ports, *(spec.foreign.ports if spec.foreign else ()), *(p for r in rules for p in r.ports or ())}


def doubts(policy: Policy, reach: Reach, existing: Existing, now: datetime) -> list[Doubt]:
    """Everything to look at, the gravest first."""
    case = Case(policy, reach, existing, now)
    return [doubt for ask in DOUBTS for doubt in ask(case)]


def doubtful(found: Sequence[Doubt]) -> Condition:
    """The condition that tells of them; its reason is the first one's."""
    if not found:
        return Condition("Doubtful", False, "NothingDoubtful", "Nothing in the policy looks like a mistake.")
    return Condition("Doubtful", True, found[0].reason, " ".join(each.sentence for each in found))


def _nobody_allowed(case: Case) -> Iterator[Doubt]:
    if case.allow is not None and all(map(means_nobody, case.allow)):
        yield Doubt(
            "NobodyAllowed",
            "allow names nobody, so no sidecar may connect to the selected pods: name callers, leave allow out to let "
            "in every identity of the trust domain, or leave it so if that is meant.",
        )


def _everybody_denied(case: Case) -> Iterator[Doubt]:
    for number, rule in enumerate(case.deny):
        if rule.sources is None and rule.ports is None:
            yield Doubt(
                "EverybodyDenied",
                f"deny[{number}] names neither callers nor ports, so nobody may connect, whatever any policy allows: "
                "name callers (from) or ports.",
            )


def _allow_denied(case: Case) -> Iterator[Doubt]:
    for number, rule in enumerate(case.allow or ()):
        origin = covered_by(rule, (*case.deny, *case.reach.denied))
        if origin:
            yield Doubt(
                "AllowDenied",
                f"allow[{number}] lets nobody in, because {origin} denies all whom it names, and deny beats allow at "
                "every level: narrow one of the two.",
            )


def _says_nothing(case: Case) -> Iterator[Doubt]:
    partly = case.allow is not None and not all(map(means_nobody, case.allow))
    for name, rules in (("allow", case.allow if partly else ()), ("deny", case.deny)):
        for number, rule in enumerate(rules or ()):
            if means_nobody(rule):
                what = "from" if rule.sources == () else "ports"
                yield Doubt(
                    "EmptyEntry",
                    f"{name}[{number}] means nobody, because its {what} is an empty list: fill it, or leave {what} out "
                    f"to mean {'everybody' if what == 'from' else 'every port'}.",
                )


def _strangers(case: Case) -> Iterator[Doubt]:
    found = strangers(case.policy, case.existing)
    for reason, sentence in _STRANGERS.items():
        of_reason = [each for each in found if each.reason == reason]
        if of_reason:
            yield Doubt(reason, sentence.format(names=_named(of_reason), domain=case.existing.trust_domain))


_STRANGERS: Final = {
    UNKNOWN_NAMESPACE: "No namespace has this name: {names}. Correct it, or create the namespace.",
    UNKNOWN_ACCOUNT: "No pod runs as this service account: {names}. Correct it, or start its pods with it.",
    OTHER_TRUST_DOMAIN: "Nobody outside the trust domain {domain} can connect: {names}. Name identities of {domain}.",
    NO_IDENTITY: (
        "Nobody can have this identity: {names}. Those of this cluster are "
        "spiffe://{domain}/ns/NAMESPACE/sa/SERVICEACCOUNT."
    ),
}


def _named(found: Iterable[Stranger]) -> str:
    places: dict[str, str] = {}
    for each in found:
        places.setdefault(each.name, each.place)
    return some([f"{name} ({place})" for name, place in places.items()], MOST_NAMES)


def _undeclared_ports(case: Case) -> Iterator[Doubt]:
    declared = case.reach.declared
    missing = sorted(case.said_ports - declared) if declared is not None else []
    if missing and declared is not None:
        yield Doubt(
            "UndeclaredPort",
            f"No container of the selected pods declares this port: {some(missing, MOST_NAMES)}. They declare "
            f"{some(sorted(declared), MOST_NAMES)}: name container ports, not the Service's, or declare it.",
        )


def _lists_without_identity(case: Case) -> Iterator[Doubt]:
    """Who comes in plaintext is on no list of names: he is not let in by one, and not kept out by one."""
    names_allowed = case.allow is not None and bool(case.allow) and all(rule.sources for rule in case.allow)
    if names_allowed and Mode.DISABLED in case.modes:
        yield Doubt(
            "PlaintextHasNoIdentity",
            "The mode is Disabled, here or inherited: everybody comes in plaintext, without an identity, and allow "
            "lets in only callers that have one, so nobody can connect. Set mode: Strict, or leave allow out.",
        )
    elif names_allowed and Mode.PERMISSIVE in case.modes:
        yield Doubt(
            "PlaintextRefused",
            "The mode is Permissive, here or inherited, but allow names callers, and who comes in plaintext is none of "
            "them: it is refused. Set mode: Strict to say so, add a rule without from for the ports that plaintext may "
            "reach, or set enforcement: Audit to see first who would be refused.",
        )
    elif any(rule.sources for rule in case.deny) and not case.modes.isdisjoint({Mode.PERMISSIVE, Mode.DISABLED}):
        yield Doubt(
            "PlaintextPasses",
            "deny names callers, and the mode lets plaintext in, here or inherited: who comes in plaintext has no "
            "identity, so deny does not stop him. Set mode: Strict as soon as every caller has a sidecar.",
        )


def _foreign(case: Case) -> Iterator[Doubt]:
    spec = case.policy.spec
    open_ = spec.foreign.ports if spec.foreign is not None else frozenset()
    plain = sorted(port for port in open_ if spec.ports.get(port, spec.mode) is Mode.DISABLED)
    if plain:
        yield Doubt(
            "ForeignInPlaintext",
            f"foreign opens a port that is Disabled: {some(plain, MOST_NAMES)}. Clients there need no TLS at all:"
            " set its mode to Strict.",
        )
    if open_ and case.reach.explicit:
        yield Doubt(
            "ForeignNotServed",
            "foreign has no effect, because all selected pods are in explicit mode (handfast.dev/interception: none), "
            "where no connection is redirected: remove the annotation, or foreign.",
        )


def _weak_and_final(case: Case) -> Iterator[Doubt]:
    spec = case.policy.spec
    if not is_final(case.policy):
        return
    if spec.mode in (Mode.PERMISSIVE, Mode.DISABLED) and spec.promote_after is None:
        yield Doubt(
            "FinalAllowsPlaintext",
            f"overridable is false and the mode is {spec.mode}, so no namespace can be stricter: set mode: Strict, or "
            "leave overridable out.",
        )
    if spec.enforcement is Enforcement.AUDIT:
        yield Doubt(
            "FinalAudit",
            "overridable is false and enforcement is Audit, so no namespace can have anything refused: set "
            "enforcement: Enforce, or leave overridable out.",
        )


def _audited_for_long(case: Case) -> Iterator[Doubt]:
    since = case.policy.changed or case.policy.created
    if case.policy.spec.enforcement is Enforcement.AUDIT and case.now - datetime.fromisoformat(since) > AUDITED_FOR:
        yield Doubt(
            "StillAudit",
            f"enforcement is Audit, and the policy was last changed on {since[:10]}: it still refuses nothing. Look at "
            "what it would have refused, then set enforcement: Enforce.",
        )


def _entries_like_the_mode(case: Case) -> Iterator[Doubt]:
    spec = case.policy.spec
    same = sorted(port for port, mode in spec.ports.items() if mode is spec.mode)
    if same:
        yield Doubt(
            "PortSaysTheMode",
            f"ports says for a port what mode says for all: {some(same, MOST_NAMES)}. The entry beats the mode of"
            " every other policy, and stays when mode is changed: remove it, or leave it so if that is meant.",
        )


DOUBTS: Final[tuple[Callable[[Case], Iterator[Doubt]], ...]] = (
    _everybody_denied,
    _nobody_allowed,
    _allow_denied,
    _weak_and_final,
    _lists_without_identity,
    _foreign,
    _strangers,
    _says_nothing,
    _undeclared_ports,
    _audited_for_long,
    _entries_like_the_mode,
)
