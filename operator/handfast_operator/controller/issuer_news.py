"""What is told of a pod's Secret: Events for its owner, counts, and why it is not in order, for whoever asks later."""

import logging
from collections.abc import Callable
from datetime import timedelta

from handfast_operator.cluster.objects import Key, Pod, SecretMeta
from handfast_operator.controller.issuance import ANNOTATION_NOT_AFTER, ANNOTATION_SERIAL, EXPIRED, REVOKED, Refuse
from handfast_operator.controller.issuer_metrics import IssuerMetrics

log = logging.getLogger(__name__)

EventSink = Callable[[Pod, str, str, str], None]
"""Called with the pod, `Normal` or `Warning`, a reason and a sentence."""


class IssuerNews:
    """Tells each thing as it happens, and remembers what last went wrong."""

    def __init__(self, event: EventSink, metrics: IssuerMetrics) -> None:
        self._event, self._metrics = event, metrics
        self._attempts: dict[Key, int] = {}
        """Failures in a row."""
        self._words: dict[Key, str] = {}

    def failure(self, pod: Pod) -> str:
        """Why the pod's Secret could not be brought in order the last time; empty: it was, or nobody has tried."""
        return self._words.get(pod.key, "")

    def attended(self, pod: Pod) -> None:
        """Nothing failed, though the pod may have been refused."""
        self._attempts.pop(pod.key, None)

    def in_order(self, pod: Pod) -> None:
        """Its Secret is as it should be."""
        self._words.pop(pod.key, None)

    def forget(self, pod: Pod) -> None:
        """It is gone."""
        self.attended(pod)
        self.in_order(pod)

    def issued(self, pod: Pod, before: SecretMeta | None, reason: str) -> None:
        """A leaf was written; `before`: the Secret as it was."""
        self._metrics.issued.labels(reason).inc()
        if before is None:
            return
        if reason == REVOKED:
            serial = before.annotations.get(ANNOTATION_SERIAL)
            self._event(
                pod,
                "Normal",
                "CertificateReplaced",
                f"its certificate with the serial {serial} was revoked: it has a new key and a new one, which kubelet"
                " brings into the pod in 30 to 100 s",
            )
        if reason == EXPIRED:
            ended = before.annotations.get(ANNOTATION_NOT_AFTER, "")
            self._event(
                pod,
                "Warning",
                "LeafExpired",
                f"the certificate in the Secret {_secret(pod)} expired at {ended}: nobody had renewed it, and peers"
                " have refused the pod since then. A new one is written, and its sidecar has it within 100 s, without a"
                " restart",
            )

    def damaged(self, pod: Pod, what: str) -> None:
        """Of a Secret that is made anew."""
        log.warning("a Secret is damaged", extra={"pod": pod_name(pod), "secret": pod.secret, "error": what})

    def refused(self, pod: Pod, refusal: Refuse) -> None:
        """Nothing may be written."""
        self._metrics.failed.labels(refusal.reason).inc()
        self._words[pod.key] = refusal.message
        self._event(pod, "Warning", "IdentityRefused", refusal.message)

    def unstable(self, pod: Pod) -> None:
        """Somebody undoes what we write."""
        sentence = (
            f"the Secret {_secret(pod)} was changed or deleted again and again: its managedFields name who does it; the"
            " next repair comes in a minute"
        )
        self._metrics.failed.labels("unstable").inc()
        self._words[pod.key] = sentence
        self._event(pod, "Warning", "IdentityUnstable", sentence)

    def failed(self, pod: Pod, reason: str, message: str) -> int:
        """An attempt failed; how many in a row that makes."""
        self._attempts[pod.key] = self._attempts.get(pod.key, 0) + 1
        self._metrics.failed.labels(reason).inc()
        self._words[pod.key] = f"{reason}: {message}"
        return self._attempts[pod.key]

    def trying_again(self, pod: Pod, reason: str, message: str, delay: timedelta, *, tell: bool) -> None:
        """After a failure; `tell`: the pod's owner can do something about it."""
        extra = {"pod": pod_name(pod), "error": message, "reason": reason, "again_in_s": delay.total_seconds()}
        log.warning("the Secret of a pod could not be written", extra=extra)
        if tell:
            sentence = f"the Secret {_secret(pod)} could not be written, trying again: {message}"
            self._event(pod, "Warning", "IdentityNotIssued", sentence)


def pod_name(pod: Pod) -> str:
    """namespace/name."""
    return f"{pod.namespace}/{pod.name}"


def _secret(pod: Pod) -> str:
    return f"{pod.namespace}/{pod.secret}"
