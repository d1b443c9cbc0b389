"""What the issuer counts. Labels are reasons, never pods."""

from collections.abc import Callable
from datetime import timedelta

from handfast_operator import metrics
from handfast_sidecar.observe.metrics import Registry


class IssuerMetrics:
    """The issuer's part of /metrics."""

    def __init__(self, registry: Registry, queue_length: Callable[[], int]) -> None:
        self.issued = metrics.LEAVES.of(registry)
        self.rewritten = metrics.REWRITTEN.of(registry)
        self.failed = metrics.LEAF_FAILURES.of(registry)
        self._seconds = metrics.LEAF_SECONDS.of(registry)
        metrics.QUEUE.of(registry).set_function(queue_length)

    def took(self, delay: timedelta) -> None:
        """A leaf was asked for that long before its Secret was written."""
        self._seconds.observe(max(delay.total_seconds(), 0))
