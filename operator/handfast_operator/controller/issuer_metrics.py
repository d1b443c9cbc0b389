"""What the issuer counts. Labels are reasons, never pods."""

from collections.abc import Callable
from datetime import timedelta

from handfast_sidecar.observe.metrics import Registry


class IssuerMetrics:
    """The issuer's part of /metrics."""

    def __init__(self, registry: Registry, queue_length: Callable[[], int]) -> None:
        self.issued = registry.counter("handfast_leaves_issued_total", "Leaves issued to pods.", ["reason"])
        self.rewritten = registry.counter(
            "handfast_identity_secrets_rewritten_total", "Secrets rewritten with the leaf they had.", ["reason"]
        )
        self.failed = registry.counter(
            "handfast_leaf_issue_failures_total", "Pods whose Secret could not be brought in order.", ["reason"]
        )
        self._seconds = registry.counter(
            "handfast_leaf_issue_seconds_sum", "Seconds from the change that asked for a leaf to its written Secret."
        )
        self._count = registry.counter("handfast_leaf_issue_seconds_count", "Leaves in the sum.")
        registry.gauge("handfast_leaf_queue_length", "Pods that wait to be looked at.").set_function(queue_length)

    def took(self, delay: timedelta) -> None:
        """A leaf was asked for that long before its Secret was written."""
        self._seconds.inc(max(delay.total_seconds(), 0))
        self._count.inc()
