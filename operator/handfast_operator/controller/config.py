"""The config.json that a pod should have now. Pure over the stores.

Its one rule: the digest leaves the revision out. A policy elsewhere raises the revision of everything, and would have
ten thousand Secrets rewritten with nothing new in them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

from handfast_operator.cluster.objects import Pod
from handfast_operator.cluster.services import Service
from handfast_operator.cluster.store import Store
from handfast_operator.policy.index import PolicyIndex
from handfast_sidecar.config.document import DirectoryAddress, Network, SidecarConfig
from handfast_sidecar.identity.revocation import Revocations
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.wellknown import DIRECTORY_ACCOUNT, DIRECTORY_PORT

if TYPE_CHECKING:
    from handfast_operator.policy.compile import CompiledPolicy

MOST_MADE: Final = 4096
"""Compiled policies whose configuration is kept; those that are gone are forgotten when there are more."""


@dataclass(frozen=True)
class Wanted:
    """What a pod's Secret should say; pods with one compiled policy share one, so what is made of it is made once."""

    config: SidecarConfig
    digest: str
    """See `digest_of`."""
    ttl: timedelta
    """Life of its leaf."""

    @cached_property
    def document(self) -> bytes:
        """The file config.json."""
        return self.config.dump().encode()


def digest_of(config: SidecarConfig) -> str:
    """SHA-256 of config.json without its revisions."""
    return hashlib.sha256(
        replace(config, revision=0, revoked=replace(config.revoked, revision=0)).dump().encode()
    ).hexdigest()


class ConfigSource:
    """Compiles the configuration of pods, and tells when that of all of them changed."""

    def __init__(
        self,
        trust_domain: str,
        namespace: str,
        index: PolicyIndex,
        services: Store[Service],
        ranges: Callable[[], tuple[Network, ...]],
        revoked: Callable[[], Revocations] = Revocations,
    ) -> None:
        """`namespace` is the operator's own; `ranges` gives the cluster's ranges as known now, `revoked` whom nobody is
        to trust any more."""
        self.trust_domain = trust_domain
        self._namespace = namespace
        self._index = index
        self._ranges = ranges
        self._revoked = revoked
        self._listeners: list[Callable[[], None]] = []
        self._made: dict[int, tuple[CompiledPolicy, Wanted]] = {}
        """By the identity of the compiled policy, which is kept with it so that no other one gets that identity."""
        self._directory = DirectoryAddress(
            f"{DIRECTORY_ACCOUNT}.{namespace}.svc",
            DIRECTORY_PORT,
            SpiffeId.of_service_account(trust_domain, namespace, DIRECTORY_ACCOUNT),
        )
        services.subscribe(self._service_changed)

    @property
    def revoked(self) -> Revocations:
        """Whom nobody is to trust any more."""
        return self._revoked()

    def wanted(self, pod: Pod) -> Wanted:
        """What the pod's Secret should say now."""
        compiled = self._index.compiled(pod)
        config = SidecarConfig(
            revision=self._index.revision,
            trust_domain=self.trust_domain,
            policy=compiled.policy,
            directory=self._directory,
            cluster_ranges=self._ranges(),
            revoked=self._revoked(),
        )
        made = self._made.get(id(compiled))
        # Compared as a whole: a part that changed, whichever it is, must reach every Secret.
        if made is None or made[1].config != config:
            if len(self._made) >= MOST_MADE:
                self._made.clear()
            made = self._made[id(compiled)] = (compiled, Wanted(config, digest_of(config), compiled.ttl))
        return made[1]

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Hear when something changed that is in every pod's configuration."""
        self._listeners.append(listener)

    def changed(self) -> None:
        """To be called when the cluster's ranges are others, or who is revoked."""
        for listener in self._listeners:
            listener()

    def _service_changed(self, _before: Service | None, after: Service | None) -> None:
        """A Service that is gone keeps its last address: uninstalling must not rewrite every Secret."""
        if after is None or after.key != (self._namespace, DIRECTORY_ACCOUNT) or not after.cluster_ips:
            return
        if self._directory.host != after.cluster_ips[0]:
            self._directory = replace(self._directory, host=after.cluster_ips[0])
            self.changed()
