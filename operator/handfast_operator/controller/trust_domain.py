"""Our own TrustDomain object as it is now: what it asks for, and whom Events about authorities are about."""

from collections.abc import Callable
from typing import Any

from handfast_operator.cluster.kinds import TRUST_DOMAINS
from handfast_operator.controller.events import Regarding
from handfast_operator.controller.resources import Api, ensure_trust_domain
from handfast_operator.controller.status import Target
from handfast_operator.resources.parse import parse_trust_domain
from handfast_operator.resources.trust_domain import TrustDomain
from handfast_sidecar.wellknown import API_GROUP, API_VERSION

Json = dict[str, Any]


class OwnTrustDomain:
    """The last version that was seen, of whichever way: read at the start, or told by the watch."""

    def __init__(self, api: Api, name: str, issuer_secret: str = "") -> None:
        """`issuer_secret`: the chart's `issuer.secretName`, which counts when the object is made."""
        self._api = api
        self._issuer_secret = issuer_secret
        self._target = Target(TRUST_DOMAINS, "", name)
        self._known: TrustDomain | None = None
        self._listeners: list[Callable[[], object]] = []

    @property
    def now(self) -> TrustDomain:
        """As last seen; as the chart makes it before that."""
        return self._known or TrustDomain(self._target.name, "", 0, 0)

    @property
    def unheeded(self) -> str:
        """What the chart's `issuer.secretName` asks for without effect, in a sentence; empty: nothing.

        The object is its author's from the moment it exists: the operator would undo a hand's work at each start.
        """
        known, wanted = self._known, self._issuer_secret
        if known is None or not wanted or known.issuer_secret == wanted:
            return ""
        says = f"secretRef {known.issuer_secret}" if known.issuer_secret else "selfSigned"
        return (
            f"The chart value issuer.secretName is {wanted}, without effect: it counts when the TrustDomain is made,"
            f" and {known.name} exists and says {says}, which holds. Change spec.issuer of it, or the value."
        )

    @property
    def regarding(self) -> Regarding:
        """For Events."""
        return Regarding(f"{API_GROUP}/{API_VERSION}", "TrustDomain", "", self._target.name, self.now.uid)

    def subscribe(self, listener: Callable[[], object]) -> None:
        """Hear that its spec is another one."""
        self._listeners.append(listener)

    async def ensure(self) -> None:
        """Read it, and make it when there is none: it carries the authorities' status. Raises ApiError."""
        self.see(self._target, await ensure_trust_domain(self._api, self._target.name, self._issuer_secret))

    def see(self, target: Target, raw: Json) -> None:
        """An object as it is now; others than ours are none of our affairs."""
        if target != self._target:
            return
        before, after = self._known, parse_trust_domain(raw)
        if before is not None and before.uid == after.uid and after.resource_version < before.resource_version:
            return
        self._known = after
        if before is None or (before.uid, before.generation) != (after.uid, after.generation):
            for listener in self._listeners:
                listener()

    def forget(self, target: Target) -> None:
        """An object is gone: it is made again at the next look, and what ours asked for holds until then."""
