"""What policies say of themselves in their status: refused, in conflict, or written as if by mistake."""

from collections.abc import Iterator
from typing import Final

from handfast_operator.checks.check import Check
from handfast_operator.checks.facts import Facts
from handfast_operator.checks.finding import Level, Problem
from handfast_operator.checks.trust import condition
from handfast_operator.cluster.kinds import CLUSTER_MTLS_POLICIES, MTLS_POLICIES

_TELLING: Final = (
    ("Accepted", "False", Level.ERROR, "it is not in force"),
    ("Conflicted", "True", Level.WARNING, "it is in conflict with another policy"),
    ("Doubtful", "True", Level.WARNING, "it looks like a mistake"),
    ("Evaded", "True", Level.WARNING, "pods go around it"),
)
"""Condition, the status that is a problem, and its words."""


def _said(facts: Facts) -> Iterator[Problem]:
    for kind, title in ((MTLS_POLICIES, "MTLSPolicy"), (CLUSTER_MTLS_POLICIES, "ClusterMTLSPolicy")):
        for policy in facts.of(kind):
            meta = policy["metadata"]
            where = f"{meta['namespace']}/" if meta.get("namespace") else ""
            option = f" -n {meta['namespace']}" if meta.get("namespace") else ""
            for name, status, level, words in _TELLING:
                found = condition(policy, name)
                if found.get("status") == status:
                    yield Problem(
                        level,
                        f"{title} {where}{meta['name']}",
                        f"{words}, {found.get('reason')}: {str(found.get('message')).removesuffix('.')}",
                        f"kubectl describe {title.lower()} {meta['name']}{option}; handfast policy effective POD says"
                        " what holds for a pod",
                    )


CHECK = Check(
    "policies", lambda _facts: "no policy is refused, or in conflict", _said, (MTLS_POLICIES, CLUSTER_MTLS_POLICIES)
)
