"""Who may have a session: a pod that the API server knows, under the identity its service account gives it.

A leaf alone is not enough: it outlives the pod it was made for, so the pod of its UID must exist, and the identity in
the leaf must be the one that this pod's object leads to now.
"""

import asyncio
from typing import Final

from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.store import Store
from handfast_operator.directory.index import AddressIndex
from handfast_operator.directory.session import Peer, SessionEnded
from handfast_sidecar.identity.proof import Proof

POD_WAIT_S: Final = 5.0
"""Seconds for our watch to catch up with a pod that is younger than it."""


class Gate:
    """Turns leaves into peers."""

    def __init__(self, index: AddressIndex, pods: Store[Pod], *, wait_s: float = POD_WAIT_S) -> None:
        self._index = index
        self._wait_s = wait_s
        self._awaited: dict[str, asyncio.Event] = {}
        pods.subscribe(self._pod_changed)

    async def admit(self, proof: Proof) -> Peer:
        """The pod behind a leaf; raises SessionEnded with the reason why it is not let in."""
        leaf = proof.leaf
        if not leaf.pod_uid:
            raise SessionEnded("no_pod_uid", f"the leaf of {leaf.spiffe_id} names no pod in its subject's serialNumber")
        pod = await self._pod(leaf.pod_uid)
        if pod is None:
            raise SessionEnded(
                "unknown_pod",
                f"no pod has the UID {leaf.pod_uid} that the leaf of {leaf.spiffe_id} names: was it deleted?",
            )
        identity = self._index.identity(pod)
        if leaf.spiffe_id != identity:
            raise SessionEnded(
                "wrong_identity", f"the leaf says {leaf.spiffe_id}, the pod {pod.namespace}/{pod.name} is {identity}"
            )
        return Peer(pod.uid, f"{pod.namespace}/{pod.name}", identity, leaf.not_after, proof.root, leaf.serial)

    async def _pod(self, uid: str) -> Pod | None:
        pod = self._index.pod(uid)
        if pod is not None:
            return pod
        seen = self._awaited.setdefault(uid, asyncio.Event())
        try:
            async with asyncio.timeout(self._wait_s):
                await seen.wait()
        except TimeoutError:
            self._awaited.pop(uid, None)
        return self._index.pod(uid)

    def _pod_changed(self, _before: Pod | None, after: Pod | None) -> None:
        if after is not None:
            seen = self._awaited.pop(after.uid, None)
            if seen is not None:
                seen.set()
