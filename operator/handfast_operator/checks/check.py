"""A check, and all of them run over one set of facts. Its one rule: what could not be looked at is never ok."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from handfast_operator.checks.facts import Asked, Facts
from handfast_operator.checks.finding import Finding, Level, Problem, Unseen
from handfast_operator.cluster.kinds import Kind


def _always(_facts: Facts) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Check:
    """One question that is asked of an installation."""

    word: str
    fine: Callable[[Facts], str]
    """The sentence where there is no problem."""
    find: Callable[[Facts], Iterable[Problem]]
    needs: tuple[Kind | Asked, ...] = ()
    applies: Callable[[Facts], bool] = _always
    """Where not, it says nothing: another check has missed what it is about."""
    decisive: bool = False
    """With an error of it, nothing that comes after it means anything."""


@dataclass(frozen=True, slots=True)
class Report:
    """What all checks have said, in their order."""

    findings: tuple[Finding, ...]
    unseen: tuple[Unseen, ...]

    @property
    def errors(self) -> int:
        return sum(each.level is Level.ERROR for each in self.findings)

    @property
    def warnings(self) -> int:
        return sum(each.level is Level.WARNING for each in self.findings)


def judge(checks: Sequence[Check], facts: Facts) -> Report:
    """Run them. One that needs a kind that the cluster does not have is left out: the kind itself is missed by name."""
    findings: list[Finding] = []
    unseen: list[Unseen] = []
    for check in checks:
        if any(need in facts.unserved for need in check.needs):
            continue
        problem = next((facts.unread[need] for need in check.needs if need in facts.unread), None)
        if problem is not None:
            unseen.append(Unseen(check.word, problem))
        if problem is not None or not check.applies(facts):
            continue
        told = list(_findings(check, facts))
        findings += told
        if check.decisive and any(each.level is Level.ERROR for each in told):
            break
    return Report(tuple(findings), tuple(unseen))


def _findings(check: Check, facts: Facts) -> Iterator[Finding]:
    found = list(check.find(facts))
    for each in found:
        yield Finding(check.word, each.level, each.object, each.message, each.remedy)
    if not found:
        yield Finding(check.word, Level.OK, "", check.fine(facts))
