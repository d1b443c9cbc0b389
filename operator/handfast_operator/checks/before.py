"""What stands in the way of an installation before it begins: rights of who installs, and what is there already."""

from collections.abc import Iterator
from typing import Final

from handfast_operator.checks.check import Check
from handfast_operator.checks.facts import Asked, Facts, Right
from handfast_operator.checks.finding import Problem, error
from handfast_operator.cluster.kinds import MUTATING_WEBHOOKS
from handfast_operator.cluster.parts import INSTANCE_LABEL
from handfast_sidecar.wellknown import WEBHOOK_CONFIGURATION

_RBAC: Final = "rbac.authorization.k8s.io"
_ADMISSION: Final = "admissionregistration.k8s.io"
_CLUSTER_WIDE: Final = (
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    (_RBAC, "clusterroles"),
    (_RBAC, "clusterrolebindings"),
    (_ADMISSION, "mutatingwebhookconfigurations"),
    (_ADMISSION, "validatingwebhookconfigurations"),
    (_ADMISSION, "validatingadmissionpolicies"),
    (_ADMISSION, "validatingadmissionpolicybindings"),
)
_NAMESPACED: Final = (
    ("apps", "deployments"),
    ("", "services"),
    ("", "serviceaccounts"),
    ("", "secrets"),
    (_RBAC, "roles"),
    (_RBAC, "rolebindings"),
    ("policy", "poddisruptionbudgets"),
)


def install_rights(namespace: str) -> list[Right]:
    """What somebody needs who installs the chart into a namespace; Secrets are where Helm keeps its releases."""
    return [
        *(Right("create", group, resource) for group, resource in _CLUSTER_WIDE),
        *(Right("create", group, resource, namespace) for group, resource in _NAMESPACED),
    ]


def _lacking(facts: Facts) -> Iterator[Problem]:
    missing = [str(right) for right, allowed in facts.rights.items() if not allowed]
    if missing:
        yield error(
            "you",
            f"you may not: {'; '.join(missing)}",
            "let somebody with the ClusterRole cluster-admin install it. Who gives rights must have them: to create"
            " roles and bindings, cluster-admin is what works",
        )


def _taken(facts: Facts) -> Iterator[Problem]:
    found = facts.named(MUTATING_WEBHOOKS, WEBHOOK_CONFIGURATION)
    if found is None:
        return
    for entry in found.get("webhooks") or ():
        other = ((entry.get("clientConfig") or {}).get("service") or {}).get("namespace")
        if other != facts.namespace:
            release = (found["metadata"].get("labels") or {}).get(INSTANCE_LABEL, "handfast")
            yield error(
                f"MutatingWebhookConfiguration {WEBHOOK_CONFIGURATION}",
                f"Handfast is installed already, in the namespace {other}: there can be one in a cluster",
                f"upgrade that one (helm upgrade {release} ... -n {other}), or remove it before:"
                f" helm uninstall {release} -n {other}",
            )
            return


RIGHTS = Check("install-rights", lambda _facts: "you may create all that the chart has", _lacking, (Asked.RIGHTS,))
OTHER = Check("other-installation", lambda _facts: "no other Handfast is installed here", _taken, (MUTATING_WEBHOOKS,))
