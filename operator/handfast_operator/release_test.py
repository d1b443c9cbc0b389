"""What `helm test` asks of an installation, from a pod of its own: whether an authority signs, whether the API server
asks the webhook, and whether the directory is who sidecars take it for.

The one rule: it looks, and makes nothing. The pod that opts in is asked for in a dry run, under an account that may do
no more.
"""

import asyncio
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import aiohttp

from handfast_operator.authority.storage import BUNDLE_CONFIG_MAP
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import CONFIG_MAPS, PODS, TRUST_DOMAINS
from handfast_operator.settings import Settings
from handfast_sidecar.errors import HandfastError, HandshakeFailed
from handfast_sidecar.identity.contexts import check_directory_peer, stream_failure
from handfast_sidecar.wellknown import (
    ALPN_DIRECTORY,
    DIRECTORY_ACCOUNT,
    DIRECTORY_PORT,
    INJECT_ENABLED,
    LABEL_INJECT,
    PROXY_CONTAINER,
    WEBHOOK_CONFIGURATION,
    WEBHOOK_PORT,
)

log = logging.getLogger(__name__)

Json = dict[str, Any]
PATIENCE_S: Final = 30.0
"""Seconds for each trial: kube-proxy learns of Services, and the API server of our account's rights, a moment later."""
PAUSE_S: Final = 1.0
HANDSHAKE_S: Final = 5.0


class TrialFailed(HandfastError):
    """Something does not work that `helm test` asked for; the sentence says what to look at."""


async def run(settings: Settings, *, patience_s: float = PATIENCE_S, pause_s: float = PAUSE_S) -> None:
    """Try everything, and say what was found. Raises TrialFailed when something does not work."""
    failed = []
    async with ApiClient.connect() as client:
        directory = os.environ.get("HANDFAST_DIRECTORY_SERVICE_HOST") or f"{DIRECTORY_ACCOUNT}.{settings.namespace}.svc"
        trials: Mapping[str, Callable[[], Awaitable[str]]] = {
            "authority": lambda: authority_signs(client, settings),
            "webhook": lambda: webhook_is_asked(client, settings),
            "directory": lambda: directory_answers(client, settings, directory),
        }
        for name, trial in trials.items():
            try:
                told = await _patiently(trial, patience_s, pause_s)
            except TrialFailed as failure:
                log.error("failed", extra={"test": name, "detail": str(failure)})
                failed.append(name)
            else:
                log.info("passed", extra={"test": name, "detail": told})
    if failed:
        raise TrialFailed(f"{', '.join(failed)}: see above")


async def authority_signs(client: ApiClient, settings: Settings) -> str:
    """The controller has made an authority, and says that it signs. Raises TrialFailed."""
    name = settings.trust_domain
    try:
        found = await client.get(TRUST_DOMAINS.item("", name))
    except ApiError as error:
        raise TrialFailed(
            f"the TrustDomain {name} cannot be read: {error}. The controller makes it at its first start:"
            f" kubectl logs --namespace {settings.namespace} deployment/handfast-controller"
        ) from error
    conditions = (found.get("status") or {}).get("conditions") or ()
    ready = next((each for each in conditions if each["type"] == "Ready"), None)
    if ready is None or ready["status"] != "True":
        said = ready["message"] if ready is not None else "it has no condition Ready yet: does the controller run?"
        raise TrialFailed(f"the TrustDomain {name} is not Ready: {said}")
    return str(ready["message"])


async def webhook_is_asked(client: ApiClient, settings: Settings) -> str:
    """A pod that opts in gets its sidecar, or Handfast's own refusal. Raises TrialFailed."""
    where = settings.test_namespace
    try:
        made = await client.create(PODS.within(where), _pod_that_opts_in(), dry_run=True)
    except ApiError as error:
        if "denied the request: Handfast: " in error.message:
            # It may, where the namespace forbids what a sidecar needs: the webhook was asked, which is what was tried.
            return f"the webhook was asked, and refuses the pod in {where}: {error.message}"
        raise TrialFailed(
            f"the API server did not admit a pod that opts in, in a dry run in {where}: {error}. If it cannot reach the"
            f" webhook: does a firewall or a NetworkPolicy keep it from port {WEBHOOK_PORT} of the webhook's pods?"
        ) from error
    containers = made["spec"].get("initContainers") or ()
    if not any(each["name"] == PROXY_CONTAINER for each in containers):
        raise TrialFailed(
            f"the API server admitted a pod that opts in into {where} without a sidecar: it did not ask the webhook."
            f" Is there a mutatingwebhookconfiguration {WEBHOOK_CONFIGURATION}? (In kube-system and the operator's own"
            " namespace no pod gets a sidecar: chart value test.namespace)"
        )
    return f"a pod that opts in gets its sidecar in {where}"


async def directory_answers(client: ApiClient, settings: Settings, host: str, port: int = DIRECTORY_PORT) -> str:
    """The directory's Service shows a certificate that sidecars would take. Raises TrialFailed."""
    where = f"{host} port {port}"
    try:
        bundle = await client.get(CONFIG_MAPS.item(settings.namespace, BUNDLE_CONFIG_MAP))
        context = _context((bundle.get("data") or {}).get(f"{settings.trust_domain}.pem", ""))
    except (ApiError, ssl.SSLError, ValueError) as error:
        raise TrialFailed(
            f"the bundle in the ConfigMap {settings.namespace}/{BUNDLE_CONFIG_MAP} cannot be used: {error}"
        ) from error
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            found = await _identity_at(host, port, context, settings.trust_domain)
    except ssl.SSLError as error:
        raise TrialFailed(f"the directory at {where} shows no certificate to trust: {stream_failure(error)}") from error
    except HandshakeFailed as error:
        raise TrialFailed(f"the directory at {where} is not what it should be: {error}") from error
    except (OSError, TimeoutError) as error:
        raise TrialFailed(
            f"nobody answers for the directory at {where} ({str(error) or type(error).__name__}): are its pods Ready,"
            " and does no NetworkPolicy keep this one away?"
        ) from error
    if found != str(settings.directory_id):
        raise TrialFailed(f"at {where} is {found}, expected {settings.directory_id}")
    return f"{found} at {where}"


async def _patiently(trial: Callable[[], Awaitable[str]], patience_s: float, pause_s: float) -> str:
    deadline = asyncio.get_running_loop().time() + patience_s
    while True:
        try:
            return await _without_surprises(trial)
        except TrialFailed:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            await asyncio.sleep(pause_s)


async def _without_surprises(trial: Callable[[], Awaitable[str]]) -> str:
    try:
        return await trial()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise TrialFailed(f"the API server does not answer: {str(error) or type(error).__name__}") from error


def _pod_that_opts_in() -> Json:
    """As harmless as a pod can be, so that whatever judges pods in that namespace finds nothing."""
    unprivileged = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
    resources = {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1m", "memory": "1Mi"}}
    container = {"name": "app", "image": "handfast-test", "resources": resources, "securityContext": unprivileged}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "handfast-test-", "labels": {LABEL_INJECT: INJECT_ENABLED}},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {"runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }


def _context(bundle: str) -> ssl.SSLContext:
    """As a sidecar's towards the directory, but without a certificate of its own: no identity is made for a test."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=bundle)
    context.set_alpn_protocols([ALPN_DIRECTORY])
    return context


async def _identity_at(host: str, port: int, context: ssl.SSLContext, trust_domain: str) -> str:
    """Who answers. Under TLS 1.3 the server has proven itself before it asks who we are."""
    _reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname="")
    try:
        proof = check_directory_peer(writer.get_extra_info("ssl_object"), trust_domain)
        return str(proof.leaf.spiffe_id)
    finally:
        writer.transport.abort()
