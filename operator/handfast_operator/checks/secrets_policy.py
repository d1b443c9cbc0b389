"""Whether the controller is kept from Secrets that are not its own: RBAC cannot, an admission policy does."""

from collections.abc import Iterator
from typing import Final

from handfast_operator.checks.check import Check
from handfast_operator.checks.facts import NOTHING, Facts
from handfast_operator.checks.finding import Problem, error
from handfast_operator.cluster.kinds import ADMISSION_BINDINGS, ADMISSION_POLICIES
from handfast_sidecar.wellknown import CONTROLLER_ACCOUNT

NAME: Final = "handfast-secrets"
_OPEN: Final = "the controller, or who takes it over, may write every Secret of the cluster"


def _weak(facts: Facts) -> Iterator[Problem]:
    about = f"ValidatingAdmissionPolicy {NAME}"
    policy = facts.named(ADMISSION_POLICIES, NAME)
    if policy is None:
        yield error(about, f"it is missing: {_OPEN}", facts.upgrade)
    else:
        spec = policy.get("spec") or NOTHING
        user = f"system:serviceaccount:{facts.namespace}:{CONTROLLER_ACCOUNT}"
        conditions = spec.get("matchConditions") or ()
        if spec.get("failurePolicy", "Fail") != "Fail":
            yield error(about, f"its failurePolicy is {spec['failurePolicy']}: where it fails, {_OPEN}", facts.upgrade)
        if not spec.get("validations"):
            yield error(about, f"it validates nothing: {_OPEN}", facts.upgrade)
        if conditions and not all(f"'{user}'" in str(each.get("expression")) for each in conditions):
            yield error(about, f"it is not about {user}: {_OPEN}", facts.upgrade)
    binding = facts.named(ADMISSION_BINDINGS, NAME)
    about = f"ValidatingAdmissionPolicyBinding {NAME}"
    if binding is None:
        yield error(about, f"it is missing, so that the policy has no effect: {_OPEN}", facts.upgrade)
    elif "Deny" not in ((binding.get("spec") or NOTHING).get("validationActions") or ()):
        yield error(about, f"its validationActions do not have Deny: {_OPEN}", facts.upgrade)


CHECK = Check(
    "secrets-policy",
    lambda _facts: "the controller may write Secrets of its own alone",
    _weak,
    (ADMISSION_POLICIES, ADMISSION_BINDINGS),
)
