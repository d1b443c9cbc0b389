"""The verbs of `handfast` in the cluster tests: run as whoever a token says, through the operator's own client."""

import argparse
import asyncio
import ssl
from base64 import b64decode
from dataclasses import replace
from types import ModuleType
from typing import Any

import yaml

from cluster.cluster import Cluster
from cluster.kube.manifests import Manifest
from handfast_operator.cluster.access import read_kubeconfig
from handfast_operator.cluster.client import ApiClient


def access_request(namespace: str, name: str, target: str, **spec: Any) -> Manifest:
    """The default account of `namespace` asks for the orders of `target`, for an hour."""
    asked = {
        "serviceAccounts": ["default"],
        "target": {"namespace": target, "selector": {"matchLabels": {"app": "orders"}}},
        "ports": [8080],
        "reason": "a test",
        "duration": "1h",
    }
    return {
        "apiVersion": "handfast.dev/v1alpha1",
        "kind": "AccessRequest",
        "metadata": {"name": name, "namespace": namespace},
        "spec": asked | spec,
    }


def access_grant(namespace: str, name: str, caller: str, expires_at: str, **spec: Any) -> Manifest:
    """The default account of `caller` may call port 8080 of the orders of `namespace`; nobody has asked."""
    said = {
        "decision": "Approve",
        "from": {"namespace": caller, "serviceAccounts": ["default"]},
        "selector": {"matchLabels": {"app": "orders"}},
        "ports": [8080],
        "expiresAt": expires_at,
    }
    return {
        "apiVersion": "handfast.dev/v1alpha1",
        "kind": "AccessGrant",
        "metadata": {"name": name, "namespace": namespace},
        "spec": said | spec,
    }


def run_verb(cluster: Cluster, verb: ModuleType, namespace: str, *words: str, token: str = "") -> int:
    """`handfast VERB -n NAMESPACE WORDS`: its exit code; CliError as the verb raises it. Without a token: as the
    administrator."""
    parser = argparse.ArgumentParser()
    verb.arguments(parser)
    args = parser.parse_args(words)
    args.namespace, args.output = namespace, "table"

    async def run() -> int:
        access = read_kubeconfig(cluster.kubeconfig)
        if token:
            access = replace(access, tls=_without_certificate(cluster), token=token)
        async with ApiClient.connect(access) as client:
            code: int = await verb.run(args, client)
            return code

    return asyncio.run(run())


def _without_certificate(cluster: Cluster) -> ssl.SSLContext:
    """Trusts the API server and shows no client certificate: that would win over the token."""
    document = yaml.safe_load(cluster.kubeconfig.read_text())
    authority = b64decode(document["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    tls = ssl.create_default_context(cadata=authority)
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return tls
