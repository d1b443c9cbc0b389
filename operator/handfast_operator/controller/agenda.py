"""When each pod's Secret is looked at: after a change of what it follows from, at a set time, and now and then anyway.

Its one rule: it is level-triggered. A change only says which pod to look at; what is to be done follows from what the
stores know when a worker gets to it, so nothing depends on having seen every change.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from handfast_operator.cluster.objects import Key, Pod, SecretMeta
from handfast_operator.cluster.store import Store
from handfast_operator.controller.config import ConfigSource
from handfast_operator.controller.secret_writer import SecretWriter, secret_key
from handfast_operator.controller.timing import Time, Timer
from handfast_operator.controller.work_queue import WorkQueue
from handfast_operator.policy.index import PolicyIndex

RESYNC: Final = timedelta(minutes=10)
"""At the latest after this every pod is looked at again; it costs no call while all is well."""


class Agenda:
    """Keeps the queue of those that are to be looked at now, and the times of the others."""

    def __init__(
        self,
        pods: Store[Pod],
        secrets: Store[SecretMeta],
        writer: SecretWriter,
        time: Time,
        forgotten: Callable[[Pod], None],
    ) -> None:
        """`forgotten` is called with each pod that gets no Secret any more."""
        self._pods, self._secrets, self._writer, self._time = pods, secrets, writer, time
        self._forgotten = forgotten
        self.queue: WorkQueue[Key] = WorkQueue()
        self._pod_of: dict[Key, Key] = {}
        """Pod by its Secret."""
        self._timers: dict[Key, Timer] = {}
        self._asked_at: dict[Key, datetime] = {}

    def __len__(self) -> int:
        """Pods that have, or get, a Secret."""
        return len(self._pod_of)

    def begin(self, index: PolicyIndex, config: ConfigSource) -> None:
        """Look at whatever is there, and at what changes from here on."""
        self._pods.subscribe(self._pod_changed)
        self._secrets.subscribe(self._secret_changed)
        index.subscribe(lambda pod: self.look_at(pod.key))
        config.subscribe(self.look_at_all)

    def look_at(self, key: Key, *, urgent: bool = False) -> None:
        """As soon as a worker is free; an urgent one before all that are not."""
        self._asked_at.setdefault(key, self._time.now())
        self.queue.add(key, urgent=urgent)

    def look_at_all(self) -> None:
        """At every meshed pod."""
        for pod in self._pods:
            if pod.meshed:
                self.look_at(pod.key)

    def arm(self, key: Key, when: datetime) -> None:
        """Look at it then, or earlier."""
        self._disarm(key)
        self._asked_at.pop(key, None)
        when = min(when, self._time.now() + RESYNC)
        self._timers[key] = self._time.call_at(when, lambda: self.look_at(key))

    def done(self, key: Key) -> datetime | None:
        """What was asked for is there; since when it was, None where nobody had asked."""
        return self._asked_at.pop(key, None)

    def forget(self, pod: Pod) -> None:
        """It gets no Secret any more."""
        self._disarm(pod.key)
        self._asked_at.pop(pod.key, None)
        self._forgotten(pod)
        if self._pod_of.get(secret_key(pod)) == pod.key:
            del self._pod_of[secret_key(pod)]
            self._writer.forget(secret_key(pod))

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if before is not None and (after is None or after.uid != before.uid):
            self.forget(before)
        if after is None or not after.meshed:
            return
        self._pod_of[secret_key(after)] = after.key
        if before is None or _situation(before) != _situation(after):
            self.look_at(after.key, urgent=self._secrets.get(*secret_key(after)) is None)

    def _secret_changed(self, before: SecretMeta | None, after: SecretMeta | None) -> None:
        changed = after if after is not None else before
        pod = self._pod_of.get(changed.key) if changed is not None else None
        if changed is None or pod is None or (after is not None and self._writer.is_own_echo(after)):
            return
        if after is None:
            self._writer.forget(changed.key)
        self.look_at(pod, urgent=after is None)

    def _disarm(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()


def _situation(pod: Pod) -> tuple[str, str, bool, bool]:
    """What decides about a pod's Secret; labels reach us through the policy index."""
    return (pod.uid, pod.secret, pod.terminal, pod.deleting)
