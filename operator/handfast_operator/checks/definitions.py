"""Whether Handfast's kinds are there, and of this version: a field that a definition lacks is dropped in silence."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from handfast_operator.checks.check import Check
from handfast_operator.checks.facts import Facts
from handfast_operator.checks.finding import Problem, error
from handfast_operator.cluster.kinds import DEFINITIONS
from handfast_sidecar.wellknown import API_GROUP, API_VERSION

_POLICY: Final = frozenset(
    {"allow", "certificate", "deny", "enforcement", "foreign", "limits", "mode", "outbound", "ports", "promoteAfter"}
)
SPEC_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "accessgrants": frozenset(
        {"answer", "answeredBy", "decision", "expiresAt", "from", "ports", "reason", "request", "selector"}
    ),
    "accessrequests": frozenset({"duration", "ports", "reason", "serviceAccounts", "target"}),
    "clustermtlspolicies": _POLICY | {"namespaceSelector", "overridable"},
    "mtlspolicies": _POLICY | {"selector"},
    "trustdomains": frozenset({"issuer", "revoked", "rotation"}),
}
"""What this version reads of each kind; crds/ has the same (a test compares)."""
_APPLY: Final = "{}: with the chart of this version, and crds.enabled=true"


def _broken(facts: Facts, *, installed: bool = True) -> Iterator[Problem]:
    for plural, fields in SPEC_FIELDS.items():
        name = f"{plural}.{API_GROUP}"
        about = f"CustomResourceDefinition {name}"
        definition = facts.named(DEFINITIONS, name)
        if definition is None:
            if installed:
                yield error(
                    about, "it is missing: objects of this kind cannot be read or written", _APPLY.format(facts.upgrade)
                )
            continue
        version = next((each for each in definition["spec"].get("versions") or () if each["name"] == API_VERSION), None)
        if version is None or not version.get("served"):
            yield error(
                about, f"it does not serve {API_VERSION}, the version that Handfast reads", _APPLY.format(facts.upgrade)
            )
            continue
        lacking = sorted(fields - _spec_fields(version))
        if lacking:
            yield error(
                about,
                f"it is of another version: it does not know {', '.join(f'spec.{each}' for each in lacking)}, which the"
                " API server drops in silence",
                _APPLY.format(facts.upgrade),
            )
        elif not _established(definition):
            yield error(about, "the API server has not accepted its names", f"kubectl describe crd {name}")


def _left_over(facts: Facts) -> Iterator[Problem]:
    return _broken(facts, installed=False)


def _spec_fields(version: Mapping[str, Any]) -> frozenset[str]:
    schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    return frozenset(((schema.get("properties") or {}).get("spec") or {}).get("properties") or ())


def _established(definition: Mapping[str, Any]) -> bool:
    conditions = (definition.get("status") or {}).get("conditions")
    # An API server that says nothing of it is taken at what it serves.
    return conditions is None or any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


CHECK = Check("custom-resources", lambda _facts: "all five kinds are there, of this version", _broken, (DEFINITIONS,))
BEFORE = Check(
    "custom-resources",
    lambda _facts: "no definition of another version is in the way",
    _left_over,
    (DEFINITIONS,),
)
