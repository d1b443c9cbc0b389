"""Whose address is this? Pods by IP and by UID. Pure.

An address is reused as soon as its pod ends, so it belongs to the pod that got it last and has not ended; and a pod on
the host's network never holds one, because its address is the node's.
"""

from handfast_operator.cluster.objects import Pod


class PodAddresses:
    """The pods of the cluster, by UID and by the addresses that are theirs alone."""

    def __init__(self) -> None:
        self._by_uid: dict[str, Pod] = {}
        self._holders: dict[str, dict[str, int]] = {}
        """By address: UIDs of its pods, each with the resourceVersion at which it was first seen with it."""

    def pod(self, uid: str) -> Pod | None:
        return self._by_uid.get(uid)

    def holder(self, address: str) -> Pod | None:
        """The pod that lives at an address now."""
        holders = self._holders.get(address)
        if not holders:
            return None
        if len(holders) == 1:
            return self._by_uid[next(iter(holders))]
        # A pod that is being deleted may have lost its address already; of two others the later one has it.
        return self._by_uid[max(holders, key=lambda uid: (not self._by_uid[uid].deleting, holders[uid]))]

    def put(self, pod: Pod) -> None:
        before = self._by_uid.get(pod.uid)
        old, new = addresses_of(before), addresses_of(pod)
        self._by_uid[pod.uid] = pod
        for address in old - new:
            self._release(address, pod.uid)
        for address in new - old:
            self._holders.setdefault(address, {})[pod.uid] = pod.resource_version

    def remove(self, uid: str) -> None:
        before = self._by_uid.get(uid)
        for address in addresses_of(before):
            self._release(address, uid)
        self._by_uid.pop(uid, None)

    def _release(self, address: str, uid: str) -> None:
        holders = self._holders[address]
        del holders[uid]
        if not holders:
            del self._holders[address]


def addresses_of(pod: Pod | None) -> frozenset[str]:
    """The addresses that are this pod's own."""
    if pod is None or pod.terminal or pod.host_network:
        return frozenset()
    return frozenset(pod.ips)
