"""Facts of an installation in which all is well: the chart's own objects, as the lab has them rendered, and their pods.

Tests break one thing in it, and look what the checks say.
"""

from base64 import b64encode
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from cryptography.hazmat.primitives.serialization import Encoding

from handfast_operator.checks.before import install_rights
from handfast_operator.checks.catalog import AFTER, BEFORE
from handfast_operator.checks.check import Check, judge
from handfast_operator.checks.facts import AUTHORITIES, DEPLOYMENTS, OWN_PODS, Facts
from handfast_operator.checks.finding import Finding, Level
from handfast_operator.cluster.kinds import (
    ADMISSION_BINDINGS,
    ADMISSION_POLICIES,
    CLUSTER_MTLS_POLICIES,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONFIG_MAPS,
    DEFINITIONS,
    ENDPOINT_SLICES,
    LEASES,
    MTLS_POLICIES,
    MUTATING_WEBHOOKS,
    NAMESPACES,
    NETWORK_POLICIES,
    PODS,
    ROLE_BINDINGS,
    ROLES,
    SERVICES,
    TRUST_DOMAINS,
    VALIDATING_WEBHOOKS,
    Kind,
)
from handfast_operator.cluster.objects import parse_namespace, parse_pod
from handfast_operator.evidence.view import EvidenceView, PodReport
from handfast_operator.resources.times import format_time
from support.pki import TestAuthority

Json = dict[str, Any]
MANIFEST: Final = Path(__file__).parents[2] / "lab" / "handfast_lab" / "install" / "handfast.yaml"
NOW: Final = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
SYSTEM: Final = "handfast-system"
IMAGE: Final = "handfast/sidecar:0.2.0"
AUTHORITY: Final = TestAuthority("cluster.local")
ROLES_: Final = ("controller", "webhook", "directory")
KINDS: Final[dict[str, Kind]] = {
    "CustomResourceDefinition": DEFINITIONS,
    "ClusterRole": CLUSTER_ROLES,
    "ClusterRoleBinding": CLUSTER_ROLE_BINDINGS,
    "Role": ROLES,
    "RoleBinding": ROLE_BINDINGS,
    "Service": SERVICES,
    "Deployment": DEPLOYMENTS,
    "MutatingWebhookConfiguration": MUTATING_WEBHOOKS,
    "ValidatingWebhookConfiguration": VALIDATING_WEBHOOKS,
    "ValidatingAdmissionPolicy": ADMISSION_POLICIES,
    "ValidatingAdmissionPolicyBinding": ADMISSION_BINDINGS,
}


@cache
def rendered() -> list[Json]:
    """What the chart installs."""
    return list(yaml.load_all(MANIFEST.read_text(), Loader=yaml.CSafeLoader))


class Installation:
    """Objects by kind, to be broken, and the facts that they make."""

    def __init__(self) -> None:
        self.objects: dict[Kind, list[Json]] = {kind: [] for kind in (*KINDS.values(), AUTHORITIES, *_FURTHER)}
        for each in deepcopy(rendered()):
            if each["kind"] in KINDS:
                self.objects[KINDS[each["kind"]]].append(each)
        self._complete()
        self.reports: dict[str, PodReport] = {}
        self.fields: Json = {}

    def _complete(self) -> None:
        pem = AUTHORITY.root.public_bytes(Encoding.PEM)
        for kind in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS):
            for entry in self.objects[kind][0]["webhooks"]:
                entry["clientConfig"]["caBundle"] = b64encode(pem).decode()
        bundle = {"metadata": meta("handfast-bundle", SYSTEM), "data": {"cluster.local.pem": pem.decode()}}
        self.objects[CONFIG_MAPS] = [bundle]
        for deployment in self.objects[DEPLOYMENTS]:
            deployment["spec"]["replicas"] = 1
        self.objects[OWN_PODS] = [own_pod(role) for role in ROLES_]
        self.objects[ENDPOINT_SLICES] = [endpoint_slice(f"handfast-{role}") for role in ("webhook", "directory")]
        renewed = {"holderIdentity": "handfast-controller-0", "renewTime": "2026-06-01T11:59:57.000000Z"}
        self.objects[LEASES] = [{"metadata": meta("handfast-controller", SYSTEM), "spec": renewed}]
        self.objects[TRUST_DOMAINS] = [trust_domain()]
        self.objects[AUTHORITIES] = [{"metadata": meta("handfast-authority-1", SYSTEM)}]
        self.namespace(SYSTEM)

    def the(self, kind: Kind, name: str) -> Json:
        """An object, to be changed."""
        return next(each for each in self.objects[kind] if each["metadata"]["name"] == name)

    def lose(self, kind: Kind, name: str) -> None:
        self.objects[kind] = [each for each in self.objects[kind] if each["metadata"]["name"] != name]

    def namespace(self, name: str, **labels: str) -> None:
        """`labels` may be given as a dictionary too: **{"handfast.dev/inject": "enabled"}."""
        said = {"kubernetes.io/metadata.name": name} | labels
        self.objects[NAMESPACES].append({"metadata": meta(name) | {"labels": said}})

    def pod(self, name: str, namespace: str, **fields: Any) -> Json:
        made = pod(name, namespace, **fields)
        self.objects[PODS].append(made)
        return made

    def report(self, name: str, *, age_s: float = 5, life: timedelta = timedelta(hours=24), left: float = 0.6) -> None:
        """What a sidecar said of itself; `left`: the part of its leaf's life."""
        begins = NOW - life * (1 - left)
        self.reports[f"uid-{name}"] = PodReport(
            f"shop/{name}",
            "",
            NOW.timestamp() - age_s,
            "01",
            format_time(begins + life),
            "",
            1,
            (),
            format_time(begins),
        )

    def facts(self) -> Facts:
        objects = deepcopy(self.objects)
        served = {"apps/v1", "coordination.k8s.io/v1", "discovery.k8s.io/v1", "rbac.authorization.k8s.io/v1"}
        found = Facts(
            NOW,
            "0.2.0",
            SYSTEM,
            version="v1.33.1",
            served=frozenset({*served, "admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"}),
            objects=objects,
            pods=tuple(map(parse_pod, objects[PODS])),
            namespaces={each["metadata"]["name"]: parse_namespace(each) for each in objects[NAMESPACES]},
            evidence=EvidenceView(NOW.timestamp(), (), self.reports),
            rights=dict.fromkeys(install_rights(SYSTEM), True),
        )
        return replace(found, **self.fields)

    def problems(self, checks: Sequence[Check] = AFTER) -> list[Finding]:
        return [each for each in judge(checks, self.facts()).findings if each.level is not Level.OK]

    def problem(self, word: str, checks: Sequence[Check] = AFTER) -> Finding:
        """The one that a check has found; no other check has found any."""
        found = self.problems(checks)
        assert {each.check for each in found} == {word}, found
        assert len(found) == 1, found
        assert found[0].remedy
        return found[0]

    def before(self, word: str) -> Finding:
        return self.problem(word, BEFORE)


_FURTHER: Final = (
    OWN_PODS,
    PODS,
    NAMESPACES,
    NETWORK_POLICIES,
    MTLS_POLICIES,
    CLUSTER_MTLS_POLICIES,
    TRUST_DOMAINS,
    LEASES,
    CONFIG_MAPS,
    ENDPOINT_SLICES,
)


def meta(name: str, namespace: str = "") -> Json:
    found: Json = {"name": name, "uid": f"uid-{name}", "resourceVersion": "1"}
    return found | ({"namespace": namespace} if namespace else {})


def pod(name: str, namespace: str, *, meshed: bool = True, image: str = IMAGE, **spec: Any) -> Json:
    """A pod that is Ready since an hour ago."""
    proxy = {"name": "handfast-proxy", "image": image, "restartPolicy": "Always"}
    volume = {"name": "handfast-identity", "secret": {"secretName": f"{name}-identity"}}
    ours = {"initContainers": [proxy], "volumes": [volume]} if meshed else {}
    return {
        "metadata": meta(name, namespace) | {"labels": {"app": name}},
        "spec": {"containers": [{"name": "app", "ports": [{"containerPort": 8080}]}], **ours, **spec},
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": f"10.0.0.{len(name)}"}],
            "startTime": format_time(NOW - timedelta(hours=1)),
            "conditions": [{"type": "Ready", "status": "True"}],
            "initContainerStatuses": [{"name": "handfast-proxy", "state": {"running": {}}}] if meshed else [],
        },
    }


def own_pod(role: str) -> Json:
    made = pod(f"handfast-{role}-0", SYSTEM, meshed=False, serviceAccountName=f"handfast-{role}")
    labels = {"app.kubernetes.io/name": "handfast", "app.kubernetes.io/component": role}
    made["metadata"]["labels"] = labels
    return made


def endpoint_slice(service: str) -> Json:
    labels = {"kubernetes.io/service-name": service}
    endpoint = {"addresses": ["10.0.0.9"], "conditions": {"ready": True}}
    return {"metadata": meta(service, SYSTEM) | {"labels": labels}, "ports": [{"port": 1}], "endpoints": [endpoint]}


def trust_domain(name: str = "cluster.local", **ready: str) -> Json:
    said = {"status": "True", "reason": "Issuing", "message": "handfast-authority-1 signs."} | ready
    life = {"notBefore": format_time(NOW - timedelta(days=10)), "notAfter": format_time(NOW + timedelta(days=80))}
    return {
        "metadata": meta(name),
        "spec": {"issuer": {"selfSigned": {}}},
        "status": {
            "conditions": [
                {"type": "Ready", **said},
                {"type": "IssuerAccepted", "status": "True", "reason": "SelfSigned", "message": "Its own."},
            ],
            "authorities": [{"name": "handfast-authority-1", "state": "Active", "source": "selfSigned", **life}],
            "rotation": {"state": "Idle", "waiting": 0, "stragglers": []},
            "serving": [{"name": role, **life} for role in ("webhook", "directory")],
        },
    }
