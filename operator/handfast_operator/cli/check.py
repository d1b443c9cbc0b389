"""`check`: what is wrong with an installation, and what to do; with `--pre`, what stands in the way of one.

The one rule: what could not be looked at is said, and is never ok.
"""

import argparse
from dataclasses import replace
from typing import Any, Final

from handfast_operator.checks.catalog import AFTER, BEFORE
from handfast_operator.checks.check import Report, judge
from handfast_operator.checks.facts import Facts
from handfast_operator.checks.finding import Finding, Level
from handfast_operator.cli.errors import NO, UNKNOWN, YES
from handfast_operator.cli.gathering import Gathering
from handfast_operator.cli.output import show
from handfast_operator.cluster.client import ApiClient

NAME: Final = "check"
HELP: Final = "what is wrong with this installation, and what to do; --pre: what stands in the way of one"
VERSION: Final = 1
_WORDS: Final = {Level.OK: "ok", Level.WARNING: "WARNING", Level.ERROR: "ERROR"}
_UNKNOWN: Final = "UNKNOWN"
_COLUMN: Final = 9
_INDENT: Final = " " * _COLUMN


def arguments(parser: argparse.ArgumentParser) -> None:
    """Before an installation, or after it."""
    parser.add_argument("--pre", action="store_true", help="before an installation: may it begin")
    parser.add_argument("--problems", action="store_true", help="leave out what is ok")


async def run(args: argparse.Namespace, client: ApiClient) -> int:
    """Exit code 0: nothing is wrong (warnings allowed); 1: something is; 3: something could not be looked at."""
    gathering = Gathering(client, args.operator_namespace)
    facts = await (gathering.before() if args.pre else gathering.after(args.namespace))
    report = judge(BEFORE if args.pre else AFTER, facts)
    if args.problems:
        report = replace(report, findings=tuple(each for each in report.findings if each.level is not Level.OK))
    show(args, document(report, facts), lambda: text(report))
    return code(report)


def code(report: Report) -> int:
    """An error is known, whatever could not be looked at."""
    if report.errors:
        return NO
    return UNKNOWN if report.unseen else YES


def document(report: Report, facts: Facts) -> dict[str, Any]:
    """The same as data."""
    return {
        "version": VERSION,
        "kubernetes": facts.version,
        "namespace": facts.namespace,
        "findings": [
            {
                "check": each.check,
                "level": each.level.value,
                "object": each.object,
                "message": each.message,
                "remedy": each.remedy,
                "link": each.link,
            }
            for each in report.findings
        ],
        "unseen": [{"check": each.check, "message": each.message} for each in report.unseen],
    }


def text(report: Report) -> str:
    """Every check in its order, problems with their remedies; the sum at the end."""
    lines: list[str] = []
    for each in report.findings:
        if each.level is not Level.OK:
            lines += _problem(each)
        else:
            lines.append(f"{_WORDS[each.level].ljust(_COLUMN)}{each.check}: {each.message}")
    for unseen in report.unseen:
        lines.append(f"{_UNKNOWN.ljust(_COLUMN)}{unseen.check}: could not be looked at: {unseen.message}")
    return "\n".join([*lines, *([""] if lines else []), summary(report)])


def _problem(finding: Finding) -> list[str]:
    lines = [f"{_WORDS[finding.level].ljust(_COLUMN)}{finding.check}: {finding.object}: {finding.message}"]
    if finding.remedy:
        lines.append(f"{_INDENT}to do: {finding.remedy}")
    return [*lines, f"{_INDENT}see {finding.link}"]


def summary(report: Report) -> str:
    """One line: whether all is well."""
    if not report.errors and not report.warnings and not report.unseen:
        return "All is well."
    parts = [f"{sum(each.level is Level.OK for each in report.findings)} ok"]
    for count, word in ((report.errors, "error"), (report.warnings, "warning")):
        if count:
            parts.append(f"{count} {word}{'' if count == 1 else 's'}")
    if report.unseen:
        parts.append(f"{len(report.unseen)} could not be looked at")
    return f"{', '.join(parts)}."
