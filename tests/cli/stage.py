"""An API server that holds a few objects and lets somebody read some of them: in the real one's words."""

import argparse
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web

from handfast_operator.cluster.client import ApiClient
from support.api_server import serving, status

Json = dict[str, Any]
OURS = "/apis/handfast.dev/v1alpha1"
SHOP = "/api/v1/namespaces/shop"


class Server:
    """Collections and objects by path; a collection is asked page by page."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.forbidden: set[str] = set()
        self.asked: list[str] = []
        self.accepts: list[tuple[str, str]] = []
        """Each path that was asked for, with the form in which it was wanted."""

    def put(self, path: str, *items: Json) -> None:
        """A collection and what is in it."""
        self.objects[path] = {"items": list(items)}
        self.objects |= {f"{path}/{each['metadata']['name']}": each for each in items}

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        self.accepts.append((request.path, request.headers.get("Accept", "")))
        if request.path in self.forbidden:
            return status(403, "Forbidden", _refusal(request.path))
        found = self.objects.get(request.path)
        if found is None:
            return status(404, "NotFound", "the server could not find it")
        if "items" not in found:
            return web.json_response(found)
        start = int(request.query.get("continue") or 0)
        more = {"continue": str(start + 1)} if start + 1 < len(found["items"]) else {}
        return web.json_response({"metadata": more, "items": found["items"][start : start + 1]})


def _refusal(path: str) -> str:
    words = path.strip("/").split("/")
    group = words[1] if words[0] == "apis" else ""
    rest = words[3:] if words[0] == "apis" else words[2:]
    namespace, rest = (rest[1], rest[2:]) if rest[0] == "namespaces" and len(rest) > 2 else ("", rest)
    verb = "get" if len(rest) > 1 else "list"
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    return f'{rest[0]} is forbidden: User "jane" cannot {verb} resource "{rest[0]}" in API group "{group}" {where}'


@asynccontextmanager
async def shop() -> AsyncIterator[tuple[Server, ApiClient]]:
    """Two meshed pods, a Service before one of them, a policy, and no directory."""
    server = Server()
    server.put(f"{SHOP}/pods", pod("cart", "10.0.0.1"), pod("orders", "10.0.0.2"))
    server.put(
        f"{SHOP}/services",
        {
            "metadata": metadata("orders"),
            "spec": {
                "clusterIPs": ["10.96.0.1"],
                "selector": {"app": "orders"},
                "ports": [{"name": "http", "port": 80}],
            },
        },
    )
    server.put(
        "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices",
        {
            "metadata": metadata("orders-1") | {"labels": {"kubernetes.io/service-name": "orders"}},
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [
                {"addresses": ["10.0.0.2"], "conditions": {}, "targetRef": {"kind": "Pod", "uid": "uid-orders"}}
            ],
        },
    )
    server.put(f"{OURS}/namespaces/shop/mtlspolicies", {"metadata": metadata("strict"), "spec": {"mode": "Strict"}})
    server.put(f"{OURS}/namespaces/shop/accessgrants")
    server.put(f"{OURS}/clustermtlspolicies")
    server.put(f"{OURS}/trustdomains", {"metadata": {"name": "test.example"}})
    server.put("/api/v1/namespaces/handfast-system/pods")
    server.objects[SHOP] = {"metadata": {"name": "shop", "resourceVersion": "1", "labels": {"team": "a"}}}
    async with serving([web.get("/{path:.*}", server.answer)]) as client:
        yield server, client


def metadata(name: str) -> Json:
    return {
        "namespace": "shop",
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }


def pod(name: str, ip: str) -> Json:
    """With a sidecar that runs."""
    running = {"name": "handfast-proxy", "state": {"running": {}}}
    return {
        "metadata": metadata(name) | {"labels": {"app": name}},
        "spec": {
            "serviceAccountName": name,
            "nodeName": "one",
            "initContainers": [{"name": "handfast-proxy", "image": "sidecar:1", "restartPolicy": "Always"}],
            "containers": [{"name": "app", "ports": [{"name": "http", "containerPort": 8080}]}],
            "volumes": [{"name": "handfast-identity", "secret": {"secretName": f"{name}-identity"}}],
        },
        "status": {"phase": "Running", "podIPs": [{"ip": ip}], "initContainerStatuses": [running]},
    }


async def run(verb: ModuleType, client: ApiClient, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Json]:
    """The verb's exit code, and its answer as data."""
    parser = argparse.ArgumentParser()
    verb.arguments(parser)
    args = parser.parse_args(words)
    args.namespace, args.output, args.operator_namespace = "shop", "json", "handfast-system"
    code = await verb.run(args, client)
    return code, json.loads(capsys.readouterr().out)
