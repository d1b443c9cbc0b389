"""TrustDomains that revoke, as the reflectors would tell of them."""

from itertools import count
from typing import Any

from handfast_operator.resources.parse import parse_trust_domain
from handfast_operator.resources.trust_domain import TrustDomain

_versions = count(1000)


def trust_domain(name: str, *revoked: dict[str, Any]) -> TrustDomain:
    """With `spec.revoked`; each is newer than the one before."""
    return parse_trust_domain(
        {
            "metadata": {"name": name, "uid": "uid-td", "resourceVersion": str(next(_versions)), "generation": 1},
            "spec": {"issuer": {"selfSigned": {}}, "revoked": list(revoked)},
        }
    )
