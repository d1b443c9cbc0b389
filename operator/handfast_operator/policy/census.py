"""Who exists: the namespaces, and the service accounts that pods run as. Pure over the stores.

The one rule: it does not flap. An account is known for an hour after its last pod has gone, so that a rollout, or a job
that runs every half hour, raises no doubt about the policies that name it.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

from handfast_operator.cluster.objects import Namespace, Pod
from handfast_operator.cluster.store import Store

REMEMBERED_S: Final = 3600.0
Account = tuple[str, str]
"""Namespace and name of a service account."""


class Census:
    """Counts, so that a question costs a look-up however many pods there are."""

    def __init__(
        self, trust_domain: str, pods: Store[Pod], namespaces: Store[Namespace], clock: Callable[[], float]
    ) -> None:
        """`clock` gives monotonic seconds."""
        self.trust_domain = trust_domain
        self._namespaces = namespaces
        self._clock = clock
        self._pods: Counter[Account] = Counter()
        self._left: dict[Account, float] = {}
        pods.subscribe(self._pod_changed)

    def has_namespace(self, name: str) -> bool:
        return self._namespaces.get("", name) is not None

    def has_account(self, namespace: str, name: str) -> bool:
        """Whether a pod runs as it, or did within the hour; one that has ended counts until it is deleted."""
        account = (namespace, name)
        if self._pods[account]:
            return True
        return self._clock() - self._left.get(account, -REMEMBERED_S) < REMEMBERED_S

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if after is not None:
            self._pods[(after.namespace, after.service_account)] += 1
        if before is not None:
            account = (before.namespace, before.service_account)
            self._pods[account] -= 1
            if not self._pods[account]:
                del self._pods[account]
                self._forget()
                self._left[account] = self._clock()

    def _forget(self) -> None:
        """What has been gone for an hour."""
        now = self._clock()
        for account in [each for each, left in self._left.items() if now - left >= REMEMBERED_S]:
            del self._left[account]
