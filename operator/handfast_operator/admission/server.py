"""The webhook: the API server's reviews over TLS.

The one rule: an error of ours is an answer of 500, and so, by `failurePolicy: Fail`, a no.
"""

import asyncio
import logging
import secrets
import string
from collections.abc import Callable
from typing import Any, Final, assert_never

from aiohttp import web

from handfast_operator.admission.certificate import ServingCertificate
from handfast_operator.admission.containers import InjectionOptions
from handfast_operator.admission.injection import Injected, Refused, Skipped, inject
from handfast_operator.admission.refusals import ephemeral_refusal
from handfast_operator.admission.review import BadReview, allow, parse_review, patch_between, refuse
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import NAMESPACES
from handfast_operator.cluster.objects import Namespace, parse_namespace
from handfast_operator.cluster.reflector import Reflector
from handfast_operator.cluster.store import Store
from handfast_operator.health import Health, serve_health, waiting_for
from handfast_operator.resources.selectors import Labels
from handfast_operator.settings import Settings
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.wellknown import WEBHOOK_HEALTH_PORT, WEBHOOK_PORT

log = logging.getLogger(__name__)

MAX_BODY: Final = 8 << 20
"""Bytes of a review; the API server's own limit for an object is 3 MiB, and a review may hold two."""
LINGER_S: Final = 3.0
"""Seconds of service after SIGTERM: until then the API server may still choose this replica."""
_ALPHABET: Final = string.ascii_lowercase + string.digits
LabelsOf = Callable[[str], Any]


class Webhook:
    """Answers reviews."""

    def __init__(self, options: InjectionOptions, labels_of: LabelsOf, registry: Registry) -> None:
        """`labels_of`: an awaitable of a namespace's labels."""
        self._options = options
        self._labels_of = labels_of
        self._reviews = registry.counter(
            "handfast_admission_reviews_total", "Reviews, by path and outcome.", ("path", "outcome")
        )

    def application(self) -> web.Application:
        """The two paths of the chart's configurations."""
        application = web.Application(client_max_size=MAX_BODY)
        application.add_routes([web.post("/inject", self._inject), web.post("/validate", self._validate)])
        return application

    async def _inject(self, request: web.Request) -> web.Response:
        try:
            review = parse_review(await request.read())
        except BadReview as error:
            return self._bad("inject", error)
        labels: Labels = await self._labels_of(review.namespace)
        outcome = inject(review.object, review.namespace, labels, self._options, random_word)
        name = _name(review.object)
        match outcome:
            case Injected(pod):
                self._reviews.labels("inject", "injected").inc()
                return web.json_response(allow(review.uid, patch_between(review.object, pod)))
            case Skipped(reason):
                self._reviews.labels("inject", "skipped").inc()
                return web.json_response(allow(review.uid, warnings=[f"Handfast: no sidecar, because {reason}"]))
            case Refused(message):
                self._reviews.labels("inject", "refused").inc()
                log.warning("pod refused", extra={"namespace": review.namespace, "pod": name, "detail": message})
                return web.json_response(refuse(review.uid, f"the pod {review.namespace}/{name} is refused: {message}"))
            case _:
                assert_never(outcome)

    async def _validate(self, request: web.Request) -> web.Response:
        try:
            review = parse_review(await request.read())
        except BadReview as error:
            return self._bad("validate", error)
        message = ephemeral_refusal(review.object)
        self._reviews.labels("validate", "refused" if message else "allowed").inc()
        return web.json_response(refuse(review.uid, message) if message else allow(review.uid))

    def _bad(self, path: str, error: BadReview) -> web.Response:
        self._reviews.labels(path, "bad_request").inc()
        return web.Response(status=400, text=f"{error}\n")


def random_word() -> str:
    """Ten letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(10))


def _name(pod: Any) -> str:
    meta = pod.get("metadata") or {}
    return str(meta.get("name") or meta.get("generateName") or "without a name")


class NamespaceLabels:
    """Labels of a namespace: from the reflector, or asked for when it is too new to be there."""

    def __init__(self, client: ApiClient, store: Store[Namespace]) -> None:
        self._client = client
        self._store = store

    async def __call__(self, name: str) -> Labels:
        known = self._store.get("", name)
        if known is None:
            known = parse_namespace(await self._client.get(NAMESPACES.item("", name)))
        return known.labels


async def run(settings: Settings) -> None:
    """Serve until cancelled."""
    registry = Registry()
    certificate = ServingCertificate(settings.tls_dir, registry)
    options = InjectionOptions(
        settings.namespace,
        settings.sidecar_image,
        settings.sidecar_pull_policy,
        settings.sidecar_resources,
        settings.sidecar_log_level,
    )
    async with ApiClient.connect() as client, asyncio.TaskGroup() as group:
        store: Store[Namespace] = Store()
        reflector = Reflector(client, NAMESPACES, store, parse_namespace)
        health = Health(registry, lambda: waiting_for(namespaces=store), client=client, follows=[reflector])
        webhook = Webhook(options, NamespaceLabels(client, store), registry)
        runner = web.AppRunner(webhook.application(), access_log=None, shutdown_timeout=LINGER_S)
        async with serve_health(health, WEBHOOK_HEALTH_PORT):
            tasks = [group.create_task(reflector.run()), group.create_task(certificate.run())]
            await runner.setup()
            try:
                await web.TCPSite(runner, None, WEBHOOK_PORT, ssl_context=certificate.context).start()
                log.info("webhook serves", extra={"port": WEBHOOK_PORT})
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(LINGER_S)
                await runner.cleanup()
                for task in tasks:
                    task.cancel()
