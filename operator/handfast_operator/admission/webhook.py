"""Reviews over HTTP: bounds first, then the pure decision, then the answer, a metric and a line of log."""

import asyncio
import base64
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, assert_never

from aiohttp import web

from handfast_operator import metrics
from handfast_operator.admission.bounds import Bounds, Busy
from handfast_operator.admission.containers import InjectionOptions
from handfast_operator.admission.finality import goes_around
from handfast_operator.admission.injection import Injected, Outcome, Refused, Skipped, inject
from handfast_operator.admission.patch import difference
from handfast_operator.admission.refusals import ephemeral_refusal
from handfast_operator.admission.review import BadReview, Review, allow, parse_review, refuse
from handfast_operator.policy.final import Demand
from handfast_operator.resources.selectors import Labels
from handfast_sidecar.observe.metrics import Registry

log = logging.getLogger(__name__)

MAX_BODY: Final = 8 << 20
"""Bytes of a review; the API server's own limit for an object is 3 MiB, and a review may hold two."""
REVIEW_TIMEOUT_S: Final = 10.0
"""Seconds for a whole review: what the API server waits by the chart's `timeoutSeconds`."""
Decide = Callable[[Review], Awaitable[tuple[str, dict[str, Any]]]]


class LabelSource(Protocol):
    """Where the labels of a namespace come from."""

    def remembered(self, name: str) -> Labels | None: ...
    async def asked(self, name: str) -> Labels: ...


class FinalSource(Protocol):
    """Where what final policies demand of a namespace comes from."""

    async def asked(self, namespace: str, labels: Labels) -> Sequence[Demand]: ...


class Webhook:
    """Answers reviews."""

    def __init__(self, options: InjectionOptions, labels: LabelSource, registry: Registry, finals: FinalSource) -> None:
        self.bounds = Bounds()
        self.draining = False
        """Whether clients shall leave for another replica after their next answer."""
        self._options = options
        self._labels = labels
        self._finals = finals
        self._reviews = metrics.REVIEWS.of(registry)
        self._seconds = metrics.REVIEW_SECONDS.of(registry)

    def application(self) -> web.Application:
        """The two paths of the chart's configurations."""

        async def inject_path(request: web.Request) -> web.Response:
            return await self._answer(request, "inject", self._inject)

        async def validate_path(request: web.Request) -> web.Response:
            return await self._answer(request, "validate", self._validate)

        application = web.Application(client_max_size=MAX_BODY)
        application.add_routes([web.post("/inject", inject_path), web.post("/validate", validate_path)])
        return application

    async def _answer(self, request: web.Request, path: str, decide: Decide) -> web.Response:
        self.bounds.asked(request.protocol)
        began = time.monotonic()
        try:
            async with asyncio.timeout(REVIEW_TIMEOUT_S):
                with self.bounds.body(request.remote or "unknown", _size(request)):
                    outcome, answer = await decide(parse_review(await request.read()))
            response = web.json_response(answer)
        except BadReview as error:
            outcome, response = "bad_request", web.Response(status=400, text=f"{error}\n")
        except Busy as error:
            log.warning("review turned away", extra={"path": path, "detail": str(error)})
            outcome, response = "busy", web.Response(status=429, text=f"{error}\n")
        except web.HTTPException:
            self._reviews.labels(path, "bad_request").inc()
            raise
        except Exception:
            # Whatever went wrong, the API server must hear an error, and the next review must find us alive.
            log.exception("review failed, so the pod is refused", extra={"path": path})
            outcome, response = "error", web.Response(status=500, text="the review failed: see the webhook's log\n")
        self._reviews.labels(path, outcome).inc()
        self._seconds.labels(path).observe(time.monotonic() - began)
        if self.draining or response.status != 200:
            response.force_close()
        return response

    async def _inject(self, review: Review) -> tuple[str, dict[str, Any]]:
        outcome = await self._decide(review)
        match outcome:
            case Injected(pod):
                return "injected", allow(review.uid, difference(review.pod, pod))
            case Skipped(reason, unexpected):
                warnings = [f"Handfast: the pod gets no sidecar, because {reason}"] if unexpected else []
                return "skipped", allow(review.uid, warnings=warnings)
            case Refused(message):
                name = pod_name(review)
                log.warning("pod refused", extra={"pod": name, "detail": message})
                return "refused", refuse(review.uid, f"the pod {name} is refused: {message}")
            case _:
                assert_never(outcome)

    async def _decide(self, review: Review) -> Outcome:
        """By the labels we remember when they let the pod be injected, else by those the API server has now. Of a pod
        that would go around its sidecar the API server is asked always, for final policies too."""
        if goes_around((review.pod.get("metadata") or {}).get("annotations") or {}):
            labels = await self._labels.asked(review.namespace)
            return self._injection(review, labels, await self._finals.asked(review.namespace, labels))
        remembered = self._labels.remembered(review.namespace)
        if remembered is not None:
            outcome = self._injection(review, remembered)
            if isinstance(outcome, Injected):
                return outcome
        return self._injection(review, await self._labels.asked(review.namespace))

    def _injection(self, review: Review, labels: Labels, demands: Sequence[Demand] = ()) -> Outcome:
        return inject(review.pod, review.namespace, labels, self._options, random_word, demands)

    async def _validate(self, review: Review) -> tuple[str, dict[str, Any]]:
        message = ephemeral_refusal(review.pod)
        if message is None:
            return "allowed", allow(review.uid)
        name = pod_name(review)
        log.warning("ephemeral container refused", extra={"pod": name, "detail": message})
        return "refused", refuse(review.uid, f"the pod {name} cannot be changed: {message}")


def random_word() -> str:
    """Ten letters and digits."""
    return base64.b32encode(secrets.token_bytes(7)).decode().lower()[:10]


def pod_name(review: Review) -> str:
    """Namespace and name, as far as it has one yet."""
    meta = review.pod.get("metadata") or {}
    name = meta.get("name") or (f"{meta['generateName']}*" if meta.get("generateName") else "(without a name)")
    return f"{review.namespace}/{name}"


def _size(request: web.Request) -> int:
    """Bytes that the body will take. Raises HTTPException where it is too large or has no length."""
    length = request.content_length
    if length is None:
        raise web.HTTPLengthRequired
    if length > MAX_BODY:
        raise web.HTTPRequestEntityTooLarge(MAX_BODY, length)
    return length
