"""Reads and writes the Secrets of pods, and remembers which version of each was ours.

Its one rule: one API write per issuance. What a write returned is known before the watch tells of it, so nothing is
done twice while the watch is behind.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from handfast_operator.authority.authority import AuthoritySet
from handfast_operator.authority.leaf import LeafRequest, issue
from handfast_operator.cluster.client import ApiError
from handfast_operator.cluster.kinds import SECRETS
from handfast_operator.cluster.objects import Key, Pod, SecretMeta, parse_secret_meta
from handfast_operator.cluster.store import Store
from handfast_operator.controller.config import Wanted
from handfast_operator.controller.identity_secret import Content, build_secret, held_leaf, identity_of, is_intact
from handfast_operator.controller.timing import Time, TokenBucket, Window
from handfast_sidecar.errors import BadCertificate, HandfastError
from handfast_sidecar.wellknown import LABEL_IDENTITY

log = logging.getLogger(__name__)

Json = dict[str, Any]


class Api(Protocol):
    """What is needed of the API server; `cluster.client.ApiClient` has it."""

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Json: ...
    async def create(self, path: str, body: Json) -> Json: ...
    async def replace(self, path: str, body: Json) -> Json: ...
    async def delete(self, path: str, *, uid: str = "") -> None: ...


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a Secret is after it was looked at."""

    meta: SecretMeta
    rewritten: bool = False
    damage: str = ""
    """Why its leaf or key cannot be kept; nothing was written then."""


class LabelLost(HandfastError):
    """Somebody took our label off a pod's Secret: the chart's admission policy then lets us not touch it."""

    def __init__(self, namespace: str, name: str) -> None:
        label = f"{LABEL_IDENTITY}=true"
        super().__init__(
            f"it has lost the label {label}, without which Handfast may not change it: give it back"
            f" (kubectl label secret -n {namespace} {name} {label}) or delete the Secret"
        )


class SecretWriter:
    """The Secrets of pods, by way of the API server; the store is only read."""

    def __init__(self, api: Api, secrets: Store[SecretMeta], bucket: TokenBucket, time: Time, window: Window) -> None:
        self._api = api
        self._secrets = secrets
        self._bucket = bucket
        self._window = window
        self._time = time
        self._answered: dict[Key, SecretMeta] = {}
        """What our writes returned, until the watch has caught up."""
        self._trusted: dict[Key, int] = {}

    def meta(self, pod: Pod) -> SecretMeta | None:
        """The newest that is known of the pod's Secret."""
        key = secret_key(pod)
        stored, answered = self._secrets.get(*key), self._answered.get(key)
        if answered is None:
            return stored
        # A store that has passed our write and does not have it has seen it deleted.
        if self._secrets.revision >= answered.resource_version:
            del self._answered[key]
            return stored
        return answered

    def trusted_version(self, pod: Pod) -> int:
        """The version of the Secret that we wrote or verified; 0: none."""
        return self._trusted.get(secret_key(pod), 0)

    def is_own_echo(self, meta: SecretMeta) -> bool:
        """Whether the watch tells of nothing but our own write."""
        return self._trusted.get(meta.key) == meta.resource_version

    def forget(self, key: Key) -> None:
        """The Secret of this name is gone, or its pod is."""
        answered = self._answered.get(key)
        if answered is None or answered.resource_version <= self._secrets.revision:
            self._answered.pop(key, None)
            self._trusted.pop(key, None)

    async def issue(
        self, pod: Pod, meta: SecretMeta | None, authorities: AuthoritySet, wanted: Wanted, reason: str
    ) -> SecretMeta:
        """Write a new key and leaf: a new Secret, or over the known version. Raises ApiError or NoAuthority."""
        await self._bucket.take()
        spiffe_id = identity_of(authorities.trust_domain, pod)
        request = LeafRequest(spiffe_id, pod.name, pod.uid, wanted.ttl)
        leaf = issue(authorities.active, request, self._time.now())
        written = await self._write(Content(pod, leaf, authorities, wanted), meta)
        log.info(
            "leaf issued",
            extra={
                "pod": f"{pod.namespace}/{pod.name}",
                "spiffe_id": str(spiffe_id),
                "serial": leaf.serial,
                "not_after": leaf.not_after.isoformat(),
                "reason": reason,
            },
        )
        return written

    async def reconcile(self, pod: Pod, authorities: AuthoritySet, wanted: Wanted) -> Reconciled:
        """Read the Secret, keep its leaf and key, and put everything else right. Raises ApiError.

        A Secret that is not the pod's is only looked at.
        """
        await self._bucket.take()
        async with self._window.call():
            raw = await self._api.get(SECRETS.item(*secret_key(pod)))
        meta = parse_secret_meta(raw)
        if pod.uid not in meta.owner_uids:
            return Reconciled(meta)
        try:
            leaf = held_leaf(raw, pod, authorities, wanted, self._time.now())
        except BadCertificate as error:
            return Reconciled(meta, damage=str(error))
        content = Content(pod, leaf, authorities, wanted)
        if is_intact(raw, content):
            self._trusted[meta.key] = meta.resource_version
            return Reconciled(meta)
        return Reconciled(await self._write(content, meta), rewritten=True)

    async def look(self, pod: Pod) -> SecretMeta | None:
        """What the API server has under the Secret's name now, whether the watch shows it or not. Raises ApiError."""
        try:
            return parse_secret_meta(await self._api.get(SECRETS.item(*secret_key(pod))))
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    async def remove(self, meta: SecretMeta) -> None:
        """Delete a Secret that cannot be changed. Raises ApiError."""
        await self._api.delete(SECRETS.item(*meta.key), uid=meta.uid)

    async def _write(self, content: Content, over: SecretMeta | None) -> SecretMeta:
        namespace, name = secret_key(content.pod)
        if over is None:
            async with self._window.call():
                raw = await self._api.create(SECRETS.within(namespace), build_secret(content))
        else:
            body = build_secret(content, str(over.resource_version))
            try:
                async with self._window.call():
                    raw = await self._api.replace(SECRETS.item(namespace, name), body)
            except ApiError as error:
                if error.status in (403, 422) and over.labels.get(LABEL_IDENTITY) != "true":
                    raise LabelLost(namespace, name) from error
                raise
        meta = parse_secret_meta(raw)
        self._answered[meta.key] = meta
        self._trusted[meta.key] = meta.resource_version
        return meta


def secret_key(pod: Pod) -> Key:
    """Namespace and name of the pod's Secret."""
    return (pod.namespace, pod.secret)
