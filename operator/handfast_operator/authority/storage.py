"""Where authorities are kept: one Secret each, and the bundle in a ConfigMap, both in the operator's namespace.

Its one rule: the API server decides. A Secret is created under a name that only one creator can get, and changed only
over the version that was read, so two controllers that start at once end with one authority. A key that is lost is
never silently replaced: the ConfigMap still has its certificate, which stays trusted.
"""

import base64
import hashlib
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from handfast_operator.authority.authority import Authority, AuthoritySet
from handfast_operator.authority.root import ROOT_TTL, SelfSigned, make_root
from handfast_operator.authority.state import AuthorityState, check_transition
from handfast_operator.cluster.client import ApiError
from handfast_operator.cluster.kinds import CONFIG_MAPS, SECRETS
from handfast_sidecar.errors import BadCertificate
from handfast_sidecar.identity.bundle import parse_bundle
from handfast_sidecar.identity.leaf import serial_of
from handfast_sidecar.wellknown import FILE_CERTIFICATE, FILE_KEY, LABEL_AUTHORITY

log = logging.getLogger(__name__)

Json = dict[str, Any]
Warn = Callable[[str, str], None]
"""Called with a reason and a sentence that the cluster's administrator must see."""
NAME_PREFIX: Final = "handfast-authority-"
BUNDLE_CONFIG_MAP: Final = "handfast-bundle"
ANNOTATION_STATE: Final = "handfast.dev/state"
ANNOTATION_TRUST_DOMAIN: Final = "handfast.dev/trust-domain"
ATTEMPTS: Final = 5
"""Conflicts in a row before the caller is told: each means that somebody else made progress."""
_NUMBERED: Final = re.compile(re.escape(NAME_PREFIX) + r"([0-9]{1,9})")
_LABEL_VALUE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


class Api(Protocol):
    """What storage needs of the API server; `cluster.client.ApiClient` has it."""

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Json: ...
    async def create(self, path: str, body: Json) -> Json: ...
    async def replace(self, path: str, body: Json) -> Json: ...


@dataclass(frozen=True, slots=True)
class _Found:
    authorities: AuthoritySet
    config_map: Json | None
    highest_number: int
    """Of any authority's Secret in the namespace, readable or not."""


class AuthorityStorage:
    """The authorities of one trust domain."""

    def __init__(self, api: Api, namespace: str, trust_domain: str, warn: Warn) -> None:
        self._api = api
        self._namespace = namespace
        self._trust_domain = trust_domain
        self._warn = warn

    async def ensure(self, now: datetime, root_ttl: timedelta = ROOT_TTL) -> AuthoritySet:
        """The authorities, one of which signs: made at the first start, or when none is left. Raises ApiError.

        The bundle is published before this returns, so that nothing is signed by a root that a restart could forget.
        """
        for _ in range(ATTEMPTS):
            try:
                return await self._ensure(now, root_ttl)
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

    async def move(self, authority: Authority, state: AuthorityState) -> Authority:
        """Write the next state, over the version that was read alone. Raises BadTransition or ApiError (409)."""
        check_transition(authority.state, state)
        moved = replace(authority, state=state)
        written = await self._api.replace(SECRETS.item(self._namespace, authority.name), self._secret(moved))
        return replace(moved, resource_version=written["metadata"]["resourceVersion"])

    async def publish(self, authorities: AuthoritySet) -> None:
        """Write the bundle into the ConfigMap when it differs. Raises ApiError."""
        await self._publish(authorities, await self._read_config_map())

    async def _ensure(self, now: datetime, root_ttl: timedelta) -> AuthoritySet:
        loaded = await self._load()
        found = loaded.authorities
        found = replace(found, remembered=tuple(each for each in found.remembered if now < each.not_valid_after_utc))
        if not any(each.signs(now) for each in found.authorities):
            # Lost ones count too, so a name is not given again while its first bearer is trusted.
            number = max(loaded.highest_number, len(found.bundle)) + 1
            made = await self._make(f"{NAME_PREFIX}{number}", now, root_ttl)
            if found.bundle:
                self._tell_of_replacement(found, made)
            found = replace(found, authorities=(*found.authorities, made))
        await self._publish(found, loaded.config_map)
        return found

    async def _make(self, name: str, now: datetime, root_ttl: timedelta) -> Authority:
        root = make_root(self._trust_domain, now, root_ttl)
        made = Authority(name, self._trust_domain, AuthorityState.ACTIVE, root.certificate, root.key)
        written = await self._api.create(SECRETS.within(self._namespace), self._secret(made))
        log.info("authority made", extra={"authority": name, "trust_domain": self._trust_domain, "serial": made.serial})
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
        held = {each.serial for each in authorities}
        lost = tuple(each for each in self._read_bundle(config_map or {}) if serial_of(each) not in held)
        numbers = (_NUMBERED.fullmatch(raw["metadata"]["name"]) for raw in items)
        return _Found(
            AuthoritySet(self._trust_domain, authorities, lost),
            config_map,
            max((int(match[1]) for match in numbers if match is not None), default=0),
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
        name = raw["metadata"]["name"]
        try:
            root = _parse_pair(raw)
            state = AuthorityState((raw["metadata"].get("annotations") or {})[ANNOTATION_STATE])
        except (KeyError, ValueError, TypeError, BadCertificate) as error:
            # The parser's own words are kept back: they must never be able to quote a key.
            self._warn(
                "AuthorityUnreadable",
                f"the Secret {self._namespace}/{name} holds no usable authority ({type(error).__name__}):"
                " restore it from a backup, or delete it",
            )
            return None
        version = raw["metadata"]["resourceVersion"]
        return Authority(name, self._trust_domain, state, root.certificate, root.key, version)

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

    def _secret(self, authority: Authority) -> Json:
        metadata: Json = {
            "name": authority.name,
            "namespace": self._namespace,
            "labels": {LABEL_AUTHORITY: label_value(self._trust_domain)},
            "annotations": {
                ANNOTATION_STATE: authority.state.value,
                ANNOTATION_TRUST_DOMAIN: self._trust_domain,
            },
        }
        if authority.resource_version:
            metadata["resourceVersion"] = authority.resource_version
        key = authority.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        data = {FILE_CERTIFICATE: authority.certificate.public_bytes(Encoding.PEM), FILE_KEY: key}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": metadata,
            "data": {name: base64.b64encode(content).decode() for name, content in data.items()},
        }


def label_value(trust_domain: str) -> str:
    """A trust domain as a label: itself where the API server takes it, else the head of its digest."""
    if _LABEL_VALUE.fullmatch(trust_domain):
        return trust_domain
    return f"sha256-{hashlib.sha256(trust_domain.encode()).hexdigest()[:32]}"


def _parse_pair(raw: Json) -> SelfSigned:
    """Certificate and key of a Secret; raises ValueError, KeyError, TypeError or BadCertificate."""
    data = raw.get("data") or {}
    certificate, key = (base64.b64decode(data[name], validate=True) for name in (FILE_CERTIFICATE, FILE_KEY))
    parsed = load_pem_private_key(key, password=None)
    root = parse_bundle(certificate)[0]
    if not isinstance(parsed, ec.EllipticCurvePrivateKey) or parsed.public_key() != root.public_key():
        raise ValueError("the key is not the certificate's")
    return SelfSigned(root, parsed)
