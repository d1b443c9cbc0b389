"""Whether one controller acts: its Lease."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from handfast_operator.checks.check import Check
from handfast_operator.checks.facts import Facts
from handfast_operator.checks.finding import Problem, error, warning
from handfast_operator.cluster.kinds import LEASES
from handfast_operator.resources.times import parse_time
from handfast_sidecar.wellknown import CONTROLLER_ACCOUNT

STALE: Final = timedelta(seconds=30)
"""Twice the Lease's duration: by then another controller would lead, if there were one that could."""


def holder(facts: Facts) -> str:
    """Name of the pod that leads; empty: none does."""
    lease = facts.named(LEASES, CONTROLLER_ACCOUNT)
    return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")


def _leads(facts: Facts) -> Iterator[Problem]:
    about = f"Lease {facts.namespace}/{CONTROLLER_ACCOUNT}"
    look = f"kubectl logs -n {facts.namespace} deployment/{CONTROLLER_ACCOUNT} --tail=50"
    lease = facts.named(LEASES, CONTROLLER_ACCOUNT)
    spec = (lease or {}).get("spec") or {}
    if lease is None or not spec.get("holderIdentity") or not spec.get("renewTime"):
        yield error(about, "no controller leads: nobody makes certificates or keeps statuses", look)
        return
    age = facts.at - parse_time(spec["renewTime"])
    if age > STALE:
        yield error(
            about,
            f"{spec['holderIdentity']} has not renewed it for {round(age.total_seconds())} s, and no other controller"
            " took it: nobody makes certificates or keeps statuses",
            look,
        )
    elif age < -STALE:
        yield warning(
            about,
            f"its holder {spec['holderIdentity']} renewed it {round(-age.total_seconds())} s in the future: the clock"
            " of its node is ahead of the API server's, and so are the certificates that it makes",
            "look at NTP on the node of that pod: timedatectl",
        )


CHECK = Check("leader", lambda facts: f"{holder(facts)} leads", _leads, (LEASES,))
