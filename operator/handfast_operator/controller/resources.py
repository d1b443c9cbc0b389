"""Our custom resources as kopf sees them, and the trust domain that exists from the first start. kopf lives here alone.

The one rule: nothing is written to what it watches. No delete handler, timer or daemon: they would add finalizers, and
an uninstalled operator would leave objects that cannot be deleted. No create or update handler: they annotate.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

import kopf
from kopf._core.engines.peering import Identity

from handfast_operator.cluster.access import find_access
from handfast_operator.cluster.client import ApiError, new_session
from handfast_operator.cluster.kinds import (
    ACCESS_GRANTS,
    ACCESS_REQUESTS,
    CLUSTER_MTLS_POLICIES,
    MTLS_POLICIES,
    TRUST_DOMAINS,
    Kind,
)
from handfast_operator.controller.own_loop import call_in, in_own_loop
from handfast_operator.controller.status import Target
from handfast_sidecar.errors import HandfastError
from handfast_sidecar.wellknown import API_GROUP, API_VERSION

Json = dict[str, Any]
Seen = Callable[[Target, Json | None], object]
"""Called with an object, and what it is now; None: it is gone."""
WATCHED: Final = (MTLS_POLICIES, CLUSTER_MTLS_POLICIES, TRUST_DOMAINS, ACCESS_REQUESTS, ACCESS_GRANTS)
STOP_S: Final = 2.0
"""Seconds that kopf may take to end."""


class Api(Protocol):
    """What is needed of the API server; `cluster.client.ApiClient` has it."""

    async def get(self, path: str) -> Json: ...
    async def create(self, path: str, body: Json) -> Json: ...


class Watcher(Protocol):
    """Who is told of the objects; `status.StatusWriter` is."""

    def see(self, target: Target, raw: Json) -> None: ...
    def forget(self, target: Target) -> None: ...


class WatchEnded(HandfastError):
    """kopf gave up on our custom resources, as it does on some errors of the API server: start again."""


async def ensure_trust_domain(api: Api, name: str, issuer_secret: str = "") -> Json:
    """The TrustDomain object of this cluster, made at the first start. Raises ApiError.

    `issuer_secret`: whom one that is made names as its issuer; empty: it is self-signed.
    """
    path = TRUST_DOMAINS.item("", name)
    body = {
        "apiVersion": f"{API_GROUP}/{API_VERSION}",
        "kind": "TrustDomain",
        "metadata": {"name": name},
        "spec": {"issuer": {"secretRef": {"name": issuer_secret}} if issuer_secret else {"selfSigned": {}}},
    }
    try:
        return await api.get(path)
    except ApiError as error:
        if error.status != 404:
            raise
    try:
        return await api.create(TRUST_DOMAINS.path, body)
    except ApiError as error:
        if error.status != 409:
            raise
        return await api.get(path)


async def watch_resources(*watchers: Watcher) -> None:
    """Tell the watchers of every change until cancelled; raises WatchEnded.

    kopf has a loop of its own: in ours it would take the process's signals, and at its end cancel tasks that are ours.
    """
    ours = asyncio.get_running_loop()

    def seen(target: Target, raw: Json | None) -> None:
        for each in watchers:
            if raw is None:
                call_in(ours, each.forget, target)
            else:
                call_in(ours, each.see, target, raw)

    why = await in_own_loop(partial(_run_kopf, seen), "kopf")
    raise WatchEnded(f"kopf gave up on our custom resources, the controller starts again: {why}")


async def _run_kopf(seen: Seen) -> str:
    """Run kopf until one of its parts ends; why it did."""
    # It tells of every handler it calls, and warns that it gets no signals, which is what we want.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    # Without an identity kopf asks for the name of our user, which an image without /etc/passwd does not have.
    tasks = await kopf.spawn_tasks(
        registry=registry_for(seen), settings=kopf_settings(), clusterwide=True, identity=Identity("handfast")
    )
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        errors = [repr(task.exception()) for task in done if not task.cancelled() and task.exception() is not None]
        return ", ".join(errors) or "it ended without an error"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=STOP_S)


def registry_for(seen: Seen) -> kopf.OperatorRegistry:
    """kopf's handlers: each passes on what an object is now."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(_login)
    for kind in WATCHED:
        kopf.on.event(API_GROUP, API_VERSION, kind.plural, registry=registry)(_handler(kind, seen))
    return registry


def _handler(kind: Kind, seen: Seen) -> Any:
    async def changed(event: Mapping[str, Any], **_arguments: Any) -> None:
        raw = event["object"]
        target = Target(kind, raw["metadata"].get("namespace", ""), raw["metadata"]["name"])
        seen(target, None if event["type"] == "DELETED" else dict(raw))

    return changed


async def _login(**_arguments: Any) -> kopf.AiohttpSession:
    """Our own way in: kopf's imports the typed client, 80 MB of it, or checks the API server too strictly."""
    access = find_access(os.environ)
    return kopf.AiohttpSession(aiohttp_session=new_session(access, access.headers()), server=access.url)


def kopf_settings() -> kopf.OperatorSettings:
    """No Events, no peering, no scanning, finite time-outs; should a handler ever annotate, then under our own name."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.watching.server_timeout = 290
    settings.watching.client_timeout = 320
    settings.watching.connect_timeout = 10
    settings.persistence.finalizer = f"{API_GROUP}/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{API_GROUP}")
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=f"kopf.{API_GROUP}")
    return settings
