"""Whether the operator may do what it has to: its roles and bindings, read as the API server's RBAC reads them.

Only RBAC is read: where a cluster has another authorizer besides, a right that is missing here may be given there.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from handfast_operator.checks.check import Check
from handfast_operator.checks.facts import NOTHING, Facts, Raw
from handfast_operator.checks.finding import Problem, error
from handfast_operator.cluster.kinds import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Kind
from handfast_operator.cluster.parts import ROLES_OF_OPERATOR
from handfast_sidecar.wellknown import API_GROUP

Needed = tuple[str, str, str, str]
"""Verb, group, resource, and the name of the one object that is meant (empty: all)."""
_WATCH: Final = ("get", "list", "watch")
_WRITE: Final = ("create", "update", "patch", "delete")
_DISCOVERY: Final = "discovery.k8s.io"
_NETWORKING: Final = "networking.k8s.io"
_ADMISSION: Final = "admissionregistration.k8s.io"


def _all(group: str, resources: Sequence[str], verbs: Sequence[str], name: str = "") -> tuple[Needed, ...]:
    return tuple((verb, group, resource, name) for resource in resources for verb in verbs)


IN_CLUSTER: Final[dict[str, tuple[Needed, ...]]] = {
    "controller": (
        *_all("", ("pods", "namespaces", "services"), _WATCH),
        *_all("", ("nodes",), ("list",)),
        *_all(_NETWORKING, ("servicecidrs",), ("list",)),
        *_all(_NETWORKING, ("networkpolicies",), _WATCH),
        *_all("", ("secrets",), (*_WATCH, *_WRITE)),
        *_all("events.k8s.io", ("events",), ("create", "patch")),
        *_all(
            API_GROUP,
            ("mtlspolicies", "clustermtlspolicies", "trustdomains", "accessrequests", "accessgrants"),
            _WATCH,
        ),
        *_all(API_GROUP, ("trustdomains",), ("create",)),
        *_all(
            API_GROUP,
            (
                "mtlspolicies/status",
                "clustermtlspolicies/status",
                "trustdomains/status",
                "accessrequests/status",
                "accessgrants/status",
            ),
            ("get", "patch"),
        ),
        *_all(
            _ADMISSION,
            ("mutatingwebhookconfigurations", "validatingwebhookconfigurations"),
            ("get", "patch"),
            "handfast",
        ),
    ),
    "webhook": (*_all("", ("namespaces",), _WATCH), *_all(API_GROUP, ("clustermtlspolicies",), ("list",))),
    "directory": (
        *_all("", ("pods", "services", "namespaces", "nodes"), _WATCH),
        *_all(_DISCOVERY, ("endpointslices",), _WATCH),
        *_all(API_GROUP, ("mtlspolicies", "clustermtlspolicies", "trustdomains", "accessgrants"), _WATCH),
        *_all(_NETWORKING, ("servicecidrs",), ("list",)),
    ),
}
"""What each part needs in the whole cluster; the chart gives the same (a test compares)."""
IN_NAMESPACE: Final[dict[str, tuple[Needed, ...]]] = {
    "controller": (
        *_all("coordination.k8s.io", ("leases",), ("get", "create", "update", "patch")),
        *_all("", ("configmaps",), ("get", "create", "update", "patch")),
    ),
}
"""Likewise in the operator's own namespace."""


def _lacking(facts: Facts) -> Iterator[Problem]:
    for role in ROLES_OF_OPERATOR:
        account = f"handfast-{role}"
        everywhere = _rules(facts, account, CLUSTER_ROLE_BINDINGS)
        here = [*everywhere, *_rules(facts, account, ROLE_BINDINGS)]
        for kind, rules, needed in (
            ("ClusterRole", everywhere, IN_CLUSTER.get(role, ())),
            ("Role", here, IN_NAMESPACE.get(role, ())),
        ):
            missing = [each for each in needed if not any(_gives(rule, each) for rule in rules)]
            if missing:
                yield _problem(facts, account, kind, missing)


def _problem(facts: Facts, account: str, kind: str, missing: Sequence[Needed]) -> Problem:
    cluster = kind == "ClusterRole"
    bindings, roles = (CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES) if cluster else (ROLE_BINDINGS, ROLES)
    where = "" if cluster else f" in {facts.namespace}"
    if facts.named(bindings, account) is None:
        cause = f"the {kind}Binding {account}{where} is missing"
    elif facts.named(roles, account) is None:
        cause = f"the {kind} {account}{where} is missing"
    else:
        cause = f"the {kind} {account}{where} or its binding was changed"
    return error(
        f"ServiceAccount {facts.namespace}/{account}",
        f"it may not {_told(missing)}: {cause}",
        facts.upgrade,
    )


def _told(missing: Sequence[Needed]) -> str:
    """By resource, so that a whole role that is gone is one line."""
    verbs: dict[str, list[str]] = {}
    for verb, group, resource, _name in missing:
        verbs.setdefault(f"{resource}.{group}" if group else resource, []).append(verb)
    told = [f"{'/'.join(each)} {resource}" for resource, each in verbs.items()]
    # Secrets first: without them nothing works, and they are what people look for.
    told.sort(key=lambda each: not each.endswith(" secrets"))
    return ", ".join(told[:4]) + (f" and {len(told) - 4} kinds more" if len(told) > 4 else "")


def _rules(facts: Facts, account: str, bindings: Kind) -> list[Raw]:
    found: list[Raw] = []
    for binding in facts.of(bindings):
        if any(_means(each, facts.namespace, account) for each in binding.get("subjects") or ()):
            reference = binding.get("roleRef") or NOTHING
            role = facts.named(CLUSTER_ROLES if reference.get("kind") == "ClusterRole" else ROLES, reference["name"])
            found += (role or NOTHING).get("rules") or ()
    return found


def _means(subject: Raw, namespace: str, account: str) -> bool:
    match subject.get("kind"):
        case "ServiceAccount":
            return (subject.get("namespace"), subject.get("name")) == (namespace, account)
        case "Group":
            groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
            return subject.get("name") in groups
        case "User":
            return subject.get("name") == f"system:serviceaccount:{namespace}:{account}"
        case _:
            return False


def _gives(rule: Raw, needed: Needed) -> bool:
    verb, group, resource, name = needed
    names = rule.get("resourceNames") or ()
    return (
        _has(rule.get("verbs"), verb)
        and _has(rule.get("apiGroups"), group)
        and (
            _has(rule.get("resources"), resource) or f"*/{resource.partition('/')[2]}" in (rule.get("resources") or ())
        )
        and (not names or name in names)
    )


def _has(values: Iterable[str] | None, wanted: str) -> bool:
    found = tuple(values or ())
    return wanted in found or "*" in found


CHECK = Check(
    "permissions",
    lambda _facts: "controller, webhook and directory may do what they have to",
    _lacking,
    (CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, ROLES, ROLE_BINDINGS),
)
