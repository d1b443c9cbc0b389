"""The issuer that somebody else renews: its Secret is read, judged and offered to the rotation.

Its one rule: it only offers. What was copied before goes on signing, whatever becomes of the Secret; a refused one is
told of, in the condition IssuerAccepted, an Event and a metric, and looked at again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import aiohttp

from handfast_operator import metrics
from handfast_operator.authority.authority import AuthoritySet, Signer
from handfast_operator.authority.external import ExternalIssuer, read_issuer
from handfast_operator.authority.issuer_certificate import IssuerRefused
from handfast_operator.authority.issuer_trial import try_issuer
from handfast_operator.authority.steps import Offer
from handfast_operator.cluster.client import ApiError
from handfast_operator.cluster.kinds import SECRETS
from handfast_operator.controller.timing import SystemTime, Time
from handfast_operator.controller.trust_domain import OwnTrustDomain
from handfast_operator.resources.times import format_time
from handfast_sidecar.errors import HandfastError
from handfast_sidecar.identity.leaf import serial_of
from handfast_sidecar.observe.metrics import Registry

log = logging.getLogger(__name__)

Json = Mapping[str, Any]
Say = Callable[[str, str, str], None]
"""Called with `Normal` or `Warning`, a reason, and a sentence about the TrustDomain."""
LOOK: Final = timedelta(seconds=10)
"""Between two readings of one Secret. A watch would cost a connection, and tell of it a few seconds earlier."""
REMIND: Final = timedelta(hours=1)
"""Between two Events about the same refusal; the API server forgets Events after an hour."""


class Api(Protocol):
    """What is needed of the API server; `cluster.client.ApiClient` has it."""

    async def get(self, path: str) -> dict[str, Any]: ...


class ExternalIssuerSource:
    """Of our own trust domain, while its spec names a Secret."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        trust_domain: OwnTrustDomain,
        known: Callable[[], Awaitable[AuthoritySet]],
        leaf_ttl: Callable[[], timedelta],
        say: Say,
        registry: Registry,
        time: Time | None = None,
    ) -> None:
        """`namespace` is the operator's; `leaf_ttl` gives the longest life of a leaf in force, `known` reads ours."""
        self._api, self._namespace, self._trust_domain = api, namespace, trust_domain
        self._known, self._leaf_ttl, self._say, self._time = known, leaf_ttl, say, time or SystemTime()
        self._looked_at = ""
        """Name of the Secret that the offer is of."""
        self._offer: Offer | None = None
        self._tried: str | None = None
        """The source whose leaves were taken in a trial."""
        self._told: tuple[str, str] = ("", "")
        self._told_at: datetime | None = None
        self._wake = asyncio.Event()
        self._refused = metrics.ISSUER_REFUSED.of(registry)
        self.changed: Callable[[], object] = lambda: None
        """Called when there is another offer."""
        trust_domain.subscribe(self._wake.set)

    def offer(self) -> Offer | None:
        """As of the last look; None: the operator makes its roots itself."""
        name = self._trust_domain.now.issuer_secret
        if not name:
            return None
        if name != self._looked_at or self._offer is None:
            return Offer(None)  # nothing is known of it yet
        return self._offer

    async def run(self) -> None:
        """Look until cancelled; `look` comes before."""
        while True:
            timer = self._time.call_at(self._time.now() + LOOK, self._wake.set)
            await self._wake.wait()
            timer.cancel()
            self._wake.clear()
            try:
                await self.look()
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                log.warning("cannot read the external issuer, trying again", extra={"error": str(error)})

    async def look(self) -> None:
        """Read the Secret and judge it. Raises ApiError where it cannot be read; the last offer stands then."""
        name = self._trust_domain.now.issuer_secret
        before = self.offer()
        if name:
            found = await self._judge(name)
            # Two readings of one key are two objects: who compares offers must see that nothing has changed.
            if before is None or not _same(before, found):
                self._offer = found
        self._looked_at = name
        self._tell(name)
        if self.offer() != before:
            self.changed()

    async def _judge(self, name: str) -> Offer:
        where, now = f"{self._namespace}/{name}", self._time.now()
        try:
            secret = await self._read(name, where)
            issuer = read_issuer(secret.get("data"), where, now, self._leaf_ttl())
            await self._try(issuer, where)
        except IssuerRefused as refused:
            return Offer(None, str(refused), refused.reason)
        except HandfastError as error:
            # Of the trial: a defect of ours or of theirs, and no reason to stop what signs.
            return Offer(None, f"the Secret {where} cannot be the issuer: {error}", "unusable")
        return Offer(Signer(issuer.certificate, issuer.key, issuer.chain, _root(issuer), issuer.source))

    async def _read(self, name: str, where: str) -> Json:
        try:
            return await self._api.get(SECRETS.item(self._namespace, name))
        except ApiError as error:
            if error.status != 404:
                raise
            raise IssuerRefused(
                "no_secret",
                f"the Secret {where} that spec.issuer.secretRef names does not exist: is it issued yet, and into the"
                " operator's namespace?",
            ) from error

    async def _try(self, issuer: ExternalIssuer, where: str) -> None:
        """Once for each version: a trial costs as much as ten handshakes."""
        if issuer.source == self._tried:
            return
        serial = serial_of(issuer.certificate)
        for each in (await self._known()).authorities:
            # Annotations name the issuer of a leaf by it.
            if each.serial == serial and each.certificate != issuer.certificate:
                raise IssuerRefused(
                    "serial_in_use",
                    f"the Secret {where} cannot be the issuer: its certificate has the serial number {serial}, which"
                    f" {each.name} has too: have it issued with a random one",
                )
        try_issuer(issuer, where, self._trust_domain.now.name, self._namespace)
        self._tried = issuer.source

    def _tell(self, name: str) -> None:
        """Events when something is new, and of a refusal each hour."""
        offer, now = self.offer(), self._time.now()
        self._refused.clear()
        if offer is None:
            self._told = ("", "")
            return
        if offer.refusal:
            self._refused.labels(offer.reason).set(1)
        telling = (offer.reason, offer.source or "")
        due = offer.refusal and self._told_at is not None and now >= self._told_at + REMIND
        if telling == self._told and not due:
            return
        self._told, self._told_at = telling, now
        if offer.refusal:
            self._say("Warning", "IssuerRefused", f"{offer.refusal}; what signs goes on signing")
        elif offer.signer is not None:
            until = format_time(min(each.not_valid_after_utc for each in _all(offer.signer)))
            self._say("Normal", "IssuerAccepted", f"the Secret {self._namespace}/{name} can sign until {until}")


def _same(one: Offer, other: Offer) -> bool:
    return (one.source, one.refusal) == (other.source, other.refusal)


def _root(issuer: ExternalIssuer) -> Any:
    """None for one that signs itself, as `Signer.root` has it."""
    return issuer.root if issuer.chain else None


def _all(signer: Signer) -> tuple[Any, ...]:
    return (signer.certificate, *signer.chain, *((signer.root,) if signer.root is not None else ()))
