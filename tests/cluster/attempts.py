"""What a namespace's user can write, each tried against a final policy of the cluster: fields, labels, annotations.

Every field of an MTLSPolicy has an entry; one that a later version adds without one fails `fields_left_out`.
"""

from pathlib import Path
from typing import Any, Final

import yaml

_CRD: Final = Path(__file__).parents[2] / "crds" / "mtlspolicies.yaml"
_PORT: Final = 8080

_FIELDS: Final[dict[str, dict[str, Any]]] = {
    "mode Permissive": {"mode": "Permissive"},
    "mode Disabled": {"mode": "Disabled"},
    "mode Auto": {"mode": "Auto", "promoteAfter": "720h"},
    "a port entry": {"ports": [{"port": _PORT, "mode": "Permissive"}]},
    "a port entry that disables": {"ports": [{"port": _PORT, "mode": "Disabled"}]},
    "a workload's policy": {"mode": "Disabled", "selector": {"matchLabels": {"app": "orders"}}},
    "a workload's port entry": {
        "ports": [{"port": _PORT, "mode": "Disabled"}],
        "selector": {"matchLabels": {"app": "orders"}},
    },
    "audit": {"enforcement": "Audit"},
    "an allow of everybody": {"allow": [{}]},
    "a deny of somebody else": {"deny": [{"from": [{"namespace": "kube-public"}]}]},
    "a foreign port": {"foreign": {"ports": [_PORT], "minVersion": "1.2"}},
    "a long life": {"certificate": {"ttl": "720h"}},
    "limits": {"limits": {"maxConnections": 1000}},
    "outbound": {"outbound": {"unknown": "Allow", "plaintext": "Allow"}},
}
ANNOTATIONS: Final[dict[str, str]] = {
    "handfast.dev/skip-inbound-ports": str(_PORT),
    "handfast.dev/skip-outbound-ports": "1-13999",
    "handfast.dev/skip-outbound-cidrs": "0.0.0.0/0",
    "handfast.dev/interception": "none",
}
"""By which a pod would go around its sidecar."""


def _known() -> set[str]:
    [version] = yaml.safe_load(_CRD.read_text())["spec"]["versions"]
    return set(version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"])


def specs() -> dict[str, dict[str, Any]]:
    """Every policy that is tried, by what it tries."""
    return {name: spec for name, spec in _FIELDS.items() if set(spec) <= _known()}


def fields_left_out() -> set[str]:
    """Fields of an MTLSPolicy that no attempt has: none."""
    return _known() - {field for spec in _FIELDS.values() for field in spec}
