"""Whether the cluster itself has what Handfast rests on: its version, its APIs, its clock."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from handfast_operator.checks.check import Check
from handfast_operator.checks.facts import Facts
from handfast_operator.checks.finding import Problem, error, warning

OLDEST: Final = (1, 30)
"""The first with ValidatingAdmissionPolicy as v1; native sidecars are there by default since 1.29."""
SKEW: Final = timedelta(seconds=30)
"""Between this machine and the API server; ages and ends that are computed here are wrong by so much."""
_NEEDED: Final = ("apps/v1", "coordination.k8s.io/v1", "discovery.k8s.io/v1", "rbac.authorization.k8s.io/v1")
_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)")


def _too_old(facts: Facts) -> Iterator[Problem]:
    found = _VERSION.match(facts.version)
    if found is None:
        yield warning("Kubernetes", f"its version {facts.version!r} is not understood", "compare it with 1.30 yourself")
    elif (int(found[1]), int(found[2])) < OLDEST:
        yield error(
            "Kubernetes",
            f"it is {facts.version}, and Handfast needs native sidecar containers (1.29) and ValidatingAdmissionPolicy"
            " (1.30)",
            "upgrade the cluster to Kubernetes 1.30 or newer",
        )


def _apis(facts: Facts) -> Iterator[Problem]:
    if "admissionregistration.k8s.io/v1" in facts.served and "ValidatingAdmissionPolicy" not in facts.served:
        yield error(
            "API admissionregistration.k8s.io/v1",
            "it has no ValidatingAdmissionPolicy, by which the controller is kept from Secrets that are not its own",
            "upgrade the cluster to Kubernetes 1.30 or newer",
        )
    for each in ("admissionregistration.k8s.io/v1", *_NEEDED):
        if each not in facts.served:
            yield error(f"API {each}", "the API server does not serve it", "look for it in: kubectl api-versions")


def _skew(facts: Facts) -> Iterator[Problem]:
    if abs(facts.ahead) >= SKEW:
        seconds = round(facts.ahead.total_seconds())
        relation = "ahead of" if seconds > 0 else "behind"
        yield warning(
            "API server",
            f"its clock is {abs(seconds)} s {relation} this machine's: one of them is wrong. Certificates are judged by"
            " the clocks of the nodes",
            "look at NTP on the control plane, the nodes and this machine: timedatectl",
        )


VERSION = Check("kubernetes-version", lambda facts: f"Kubernetes is {facts.version}", _too_old)
APIS = Check("kubernetes-apis", lambda _facts: "the API server serves every API that Handfast uses", _apis)
CLOCK = Check("clock-skew", lambda _facts: "the API server's clock and this machine's agree", _skew)
