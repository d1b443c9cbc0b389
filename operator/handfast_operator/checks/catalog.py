"""All checks, in the order in which causes come before what follows from them: before an installation, and after."""

from typing import Final

from handfast_operator.checks import (
    before,
    definitions,
    expiry,
    kubernetes,
    labels,
    leader,
    network,
    parts,
    policies,
    rights,
    secrets_policy,
    sidecars,
    trust,
    webhooks,
)
from handfast_operator.checks.check import Check

_CLUSTER: Final = (kubernetes.VERSION, kubernetes.APIS, kubernetes.CLOCK)
BEFORE: Final[tuple[Check, ...]] = (
    *_CLUSTER,
    before.RIGHTS,
    before.OTHER,
    definitions.BEFORE,
    labels.INJECT,
    labels.POD_SECURITY_CHECK,
)
AFTER: Final[tuple[Check, ...]] = (
    *_CLUSTER,
    parts.INSTALLED,
    definitions.CHECK,
    *parts.PARTS,
    parts.IMAGES,
    parts.VERSIONS,
    leader.CHECK,
    rights.CHECK,
    secrets_policy.CHECK,
    parts.ENDPOINTS,
    *webhooks.CHECKS,
    trust.TRUST_DOMAIN,
    trust.SECRET,
    trust.ISSUER,
    expiry.ROOT,
    expiry.SERVING,
    trust.ROTATION,
    labels.INJECT,
    labels.POD_SECURITY_CHECK,
    sidecars.WITHOUT,
    sidecars.OLD,
    sidecars.UNHEARD,
    expiry.LEAVES,
    network.CHECK,
    policies.CHECK,
)
