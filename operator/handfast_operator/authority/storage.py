"""Where authorities are kept: one Secret each, and the bundle in a ConfigMap, both in the operator's namespace.

Its one rule: the API server decides. A Secret is created under a name that only one creator can get, and changed only
over the version that was read, so two controllers that start at once end with one authority. A key that is lost is
never silently replaced: the ConfigMap still has its certificate, which stays trusted.

Whoever dies between two writes leaves what the next one understands: the bundle is published after an authority has
become trusted and before anything is signed by it, and a retired one keeps its Secret until the bundle is without it.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from cryptography import x509

from handfast_operator.authority.authority import NAME_PREFIX, Authority, AuthoritySet, Signer, number_of
from handfast_operator.authority.authority_secret import build_authority_secret, label_value, parse_authority_secret
from handfast_operator.authority.root import ROOT_TTL, make_root
from handfast_operator.authority.state import AuthorityState, check_transition
from handfast_operator.cluster.client import ApiError
from handfast_operator.cluster.kinds import CONFIG_MAPS, SECRETS
from handfast_sidecar.errors import BadCertificate
from handfast_sidecar.identity.bundle import parse_bundle
from handfast_sidecar.wellknown import LABEL_AUTHORITY

log = logging.getLogger(__name__)

Json = dict[str, Any]
Warn = Callable[[str, str], None]
"""Called with a reason and a sentence that the cluster's administrator must see."""
BUNDLE_CONFIG_MAP: Final = "handfast-bundle"
ATTEMPTS: Final = 5
"""Conflicts in a row before the caller is told: each means that somebody else made progress."""
_RESCUERS: Final = (AuthorityState.DISTRIBUTED, AuthorityState.DRAINING)
"""Who signs when nobody does any more, in this order: peers were told to trust them already."""


class Api(Protocol):
    """What storage needs of the API server; `cluster.client.ApiClient` has it."""

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Json: ...
    async def create(self, path: str, body: Json) -> Json: ...
    async def replace(self, path: str, body: Json) -> Json: ...
    async def delete(self, path: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _Found:
    authorities: AuthoritySet
    config_map: Json | None
    highest_number: int
    """Of any authority's Secret in the namespace, readable or not."""

    @property
    def next_number(self) -> int:
        """Lost ones count too, so a name is not given again while its first bearer is trusted."""
        return max(self.highest_number, len(self.authorities.bundle)) + 1


class AuthorityStorage:
    """The authorities of one trust domain."""

    def __init__(self, api: Api, namespace: str, trust_domain: str, warn: Warn) -> None:
        self._api = api
        self._namespace = namespace
        self._trust_domain = trust_domain
        self._warn = warn

    async def ensure(
        self, now: datetime, root_ttl: timedelta = ROOT_TTL, *, trigger: str = "", signer: Signer | None = None
    ) -> AuthoritySet:
        """The authorities, one of which signs: made at the first start, or when none is left. Raises ApiError.

        The bundle is published before this returns, so that nothing is signed by a root that a restart could forget.
        One that is made answers `trigger`, and is made of `signer`, else a root that lives for `root_ttl`.
        """
        for _ in range(ATTEMPTS):
            try:
                return await self._ensure(now, root_ttl, trigger, signer)
            except ApiError as error:
                if error.status != 409:
                    raise
                log.info("another controller wrote first, reading again", extra={"error": error.message})
        raise ApiError(
            409, "Conflict", f"the authorities of {self._trust_domain} keep changing: is one controller alone?"
        )

    async def load(self) -> AuthoritySet:
        """What the Secrets and the ConfigMap say now. Raises ApiError."""
        return (await self._load()).authorities

    async def prepare(self, signer: Signer, now: datetime, trigger: str = "") -> Authority:
        """Keep a new authority, which nobody trusts yet. Raises ApiError, 409 when another controller was first."""
        number = (await self._load()).next_number
        return await self._create(number, signer, AuthorityState.PREPARED, now, trigger)

    async def move(self, authority: Authority, state: AuthorityState, now: datetime, **also: Any) -> Authority:
        """Write the next state, over the version that was read alone; `also`: fields of it that change at once.

        Raises BadTransition, or ApiError (409).
        """
        check_transition(authority.state, state)
        return await self.rewrite(replace(authority, state=state, since=now, **also))

    async def rewrite(self, authority: Authority) -> Authority:
        """Write it as it is given, over the version that was read alone. Raises ApiError (409)."""
        body = build_authority_secret(authority, self._namespace)
        written = await self._api.replace(SECRETS.item(self._namespace, authority.name), body)
        return replace(authority, resource_version=written["metadata"]["resourceVersion"])

    async def remove(self, retired: Authority, authorities: AuthoritySet) -> AuthoritySet:
        """Delete a retired one's Secret, when the bundle is without it. Raises ApiError."""
        if retired.state is not AuthorityState.RETIRED:
            raise ValueError(f"{retired.name} is {retired.state}")
        await self.publish(authorities)
        await self._api.delete(SECRETS.item(self._namespace, retired.name))
        log.info("authority removed", extra={"authority": retired.name, "serial": retired.serial})
        return authorities.without(retired)

    async def publish(self, authorities: AuthoritySet) -> None:
        """Write the bundle into the ConfigMap when it differs. Raises ApiError."""
        await self._publish(authorities, await self._read_config_map())

    async def _ensure(self, now: datetime, root_ttl: timedelta, trigger: str, signer: Signer | None) -> AuthoritySet:
        loaded = await self._load()
        found = loaded.authorities
        found = replace(found, remembered=tuple(each for each in found.remembered if now < each.not_valid_after_utc))
        if not any(each.signs(now) for each in found.authorities):
            known = found
            rescuer = _rescuer(found, now)
            if rescuer is not None:
                made = await self.move(rescuer, AuthorityState.ACTIVE, now)
            else:
                signer = signer or new_root(self._trust_domain, now, root_ttl)
                made = await self._create(loaded.next_number, signer, AuthorityState.ACTIVE, now, trigger)
            if known.bundle:
                self._tell_of_replacement(known, made)
            found = found.having(made)
        await self._publish(found, loaded.config_map)
        return found

    async def _create(
        self, number: int, signer: Signer, state: AuthorityState, now: datetime, trigger: str
    ) -> Authority:
        made = Authority(
            name=f"{NAME_PREFIX}{number}",
            trust_domain=self._trust_domain,
            state=state,
            certificate=signer.certificate,
            key=signer.key,
            chain=signer.chain,
            root=signer.root,
            since=now,
            trigger=trigger,
            source=signer.source,
        )
        body = build_authority_secret(made, self._namespace)
        written = await self._api.create(SECRETS.within(self._namespace), body)
        log.info(
            "authority made",
            extra={"authority": made.name, "trust_domain": self._trust_domain, "serial": made.serial, "state": state},
        )
        return replace(made, resource_version=written["metadata"]["resourceVersion"])

    def _tell_of_replacement(self, known: AuthoritySet, made: Authority) -> None:
        reason = "AuthorityKeyLost" if known.remembered else "AuthorityExpired"
        serials = ", ".join(sorted(known.issuers))
        self._warn(
            reason,
            f"no key is left that signs for {self._trust_domain}: the certificates {serials} stay in the bundle and"
            f" {made.name} signs from now on. Pods trust it when kubelet has brought them the new bundle, within 100 s",
        )

    async def _load(self) -> _Found:
        """The bundle is read before the keys: it is written after them, so a key made meanwhile is not lost."""
        config_map = await self._read_config_map()
        listed = await self._api.get(SECRETS.within(self._namespace), {"labelSelector": LABEL_AUTHORITY})
        items = listed.get("items") or ()
        ours = label_value(self._trust_domain)
        mine = [raw for raw in items if raw["metadata"]["labels"].get(LABEL_AUTHORITY) == ours]
        authorities = tuple(each for raw in mine if (each := self._read(raw)) is not None)
        held = {each.anchor for each in authorities}
        lost = tuple(each for each in self._read_bundle(config_map or {}) if each not in held)
        return _Found(
            AuthoritySet(self._trust_domain, authorities, lost),
            config_map,
            max((number_of(raw["metadata"]["name"]) for raw in items), default=0),
        )

    async def _read_config_map(self) -> Json | None:
        try:
            return await self._api.get(CONFIG_MAPS.item(self._namespace, BUNDLE_CONFIG_MAP))
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    def _read(self, raw: Json) -> Authority | None:
        """An authority from its Secret; one that is damaged is told of, and counts as lost."""
        try:
            return parse_authority_secret(raw, self._trust_domain)
        except (KeyError, ValueError, TypeError, BadCertificate) as error:
            # The parser's own words are kept back: they must never be able to quote a key.
            self._warn(
                "AuthorityUnreadable",
                f"the Secret {self._namespace}/{raw['metadata']['name']} holds no usable authority"
                f" ({type(error).__name__}): restore it from a backup, or delete it",
            )
            return None

    def _read_bundle(self, config_map: Json) -> tuple[x509.Certificate, ...]:
        pem = (config_map.get("data") or {}).get(self._bundle_key, "")
        if not pem:
            return ()
        try:
            return parse_bundle(pem.encode())
        except BadCertificate as error:
            self._warn("BundleUnreadable", f"ConfigMap {self._namespace}/{BUNDLE_CONFIG_MAP} is written anew: {error}")
            return ()

    @property
    def _bundle_key(self) -> str:
        return f"{self._trust_domain}.pem"

    async def _publish(self, authorities: AuthoritySet, known: Json | None) -> None:
        pem = authorities.bundle_pem.decode()
        if known is None:
            body = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": BUNDLE_CONFIG_MAP, "namespace": self._namespace},
                "data": {self._bundle_key: pem},
            }
            await self._api.create(CONFIG_MAPS.within(self._namespace), body)
        elif (known.get("data") or {}).get(self._bundle_key) != pem:
            body = {**known, "data": {**(known.get("data") or {}), self._bundle_key: pem}}
            await self._api.replace(CONFIG_MAPS.item(self._namespace, BUNDLE_CONFIG_MAP), body)


def new_root(trust_domain: str, now: datetime, ttl: timedelta = ROOT_TTL) -> Signer:
    """A root of our own. Raises BadSpiffeId for a name that is no trust domain."""
    root = make_root(trust_domain, now, ttl)
    return Signer(root.certificate, root.key)


def _rescuer(authorities: AuthoritySet, now: datetime) -> Authority | None:
    """Who is to sign now that nobody does, of those whom peers may trust already."""
    able = [each for each in authorities.authorities if each.state in _RESCUERS and now < each.ends]
    return min(able, key=lambda each: (_RESCUERS.index(each.state), -each.number), default=None)
