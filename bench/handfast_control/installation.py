"""What the chart installs of the operator but for its Deployments: kinds, accounts, rights, webhooks, its own limits.

Each role then calls as its own service account, so that the API server weighs it as it would in a cluster: an
administrator's calls pass by priority and fairness.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from handfast_control.kubernetes import URL, Server, write_private
from handfast_control.waiting import ACCOUNT, NAMESPACES
from handfast_operator.cluster.client import ApiClient

Json = dict[str, Any]
RENDERED: Final = Path(__file__).parents[2] / "lab" / "handfast_lab" / "install" / "handfast.yaml"
SYSTEM: Final = "handfast-system"
_TOKEN_S: Final = 7200
_PATHS: Final = {
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "ServiceAccount": f"/api/v1/namespaces/{SYSTEM}/serviceaccounts",
    "Service": f"/api/v1/namespaces/{SYSTEM}/services",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Role": f"/apis/rbac.authorization.k8s.io/v1/namespaces/{SYSTEM}/roles",
    "RoleBinding": f"/apis/rbac.authorization.k8s.io/v1/namespaces/{SYSTEM}/rolebindings",
    "MutatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
}


async def prepare(client: ApiClient, server: Server, folder: Path, accounts: Sequence[str]) -> Mapping[str, Path]:
    """A new API server as the operator finds it; the kubeconfig of each of its accounts. Raises ApiError.

    The lab's server knows no rights: there, everybody is its administrator.
    """
    await make_namespaces(client)
    if not server.authority:
        for name in accounts:
            await _account(client, SYSTEM, name)
        return dict.fromkeys(accounts, server.kubeconfig)
    await install(client)
    found = {name: folder / f"{name}.conf" for name in accounts}
    for name, path in found.items():
        write_private(path, (await as_account(client, name, server.authority, URL)).encode())
    return found


async def install(client: ApiClient) -> None:
    """Into an API server that has nothing yet but the operator's namespace. Raises ApiError."""
    for each in yaml.safe_load_all(RENDERED.read_text()):
        if each is not None and each["kind"] in _PATHS:
            await client.create(_PATHS[each["kind"]], each)


async def make_namespaces(client: ApiClient) -> None:
    """The operator's own, and where the pods are to be, with their service account. Raises ApiError."""
    await _namespace(client, SYSTEM)
    for name in NAMESPACES:
        await _namespace(client, name)
        await _account(client, name, ACCOUNT)


async def as_account(client: ApiClient, name: str, authority: bytes, url: str) -> str:
    """The kubeconfig of one of the operator's service accounts. Raises ApiError."""
    path = f"{_PATHS['ServiceAccount']}/{name}/token"
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": _TOKEN_S}}
    token = (await client.create(path, asked))["status"]["token"]
    cluster = {"server": url, "certificate-authority-data": base64.b64encode(authority).decode()}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": cluster}],
        "users": [{"name": "bench", "user": {"token": token}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
    }
    return json.dumps(config)


async def _namespace(client: ApiClient, name: str) -> None:
    await client.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


async def _account(client: ApiClient, namespace: str, name: str) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
    await client.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
