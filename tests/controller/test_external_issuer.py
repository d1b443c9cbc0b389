"""An issuer that somebody else renews, from its Secret to the authority that signs: with the rotation, against an API
server in memory, with a clock that is turned by hand."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from handfast_operator.authority.authority import Authority
from handfast_operator.authority.gates import Witness
from handfast_operator.authority.storage import AuthorityStorage
from handfast_operator.cluster.client import ApiError
from handfast_operator.cluster.kinds import SECRETS, TRUST_DOMAINS
from handfast_operator.controller.external_issuer import LOOK, ExternalIssuerSource
from handfast_operator.controller.rotation import Rotation, Sources
from handfast_operator.controller.rotation_news import RotationNews
from handfast_operator.controller.status import Target
from handfast_operator.controller.trust_domain import OwnTrustDomain
from handfast_operator.controller.trust_domain_status import TrustDomainStatus
from handfast_sidecar.observe.metrics import Registry
from support.issuers import DAY, Ca, make_ca
from support.memory_api import MemoryApi
from support.virtual_time import VirtualTime

OURS = TRUST_DOMAINS.item("", "cluster.local")
THEIRS = SECRETS.item("handfast-system", "handfast-issuer")
SECRET_REF = {"secretRef": {"name": "handfast-issuer"}}
ROOT = make_ca()


class Api(MemoryApi):
    """One that can be out of reach for a reading."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False

    async def get(self, path: str, params: Any = None) -> dict[str, Any]:
        if self.away:
            raise ApiError(503, "ServiceUnavailable", "the API server is away")
        return await super().get(path, params)


class World:
    """A trust domain whose one sidecar takes what it is given. The handshakes of a trial read the real clock."""

    def __init__(self) -> None:
        self.api, self.time, self.registry = Api(), VirtualTime(datetime.now(UTC)), Registry()
        self.events: list[tuple[str, str]] = []
        self.domain = OwnTrustDomain(self.api, "cluster.local")
        storage = AuthorityStorage(self.api, "handfast-system", "cluster.local", self._warn)
        self.source = ExternalIssuerSource(
            self.api,
            "handfast-system",
            self.domain,
            storage.load,
            lambda: DAY,
            lambda _kind, reason, note: self.events.append((reason, note)),
            self.registry,
            self.time,
        )
        news = RotationNews(lambda _kind, _reason, _note: None, self.registry)
        sources = Sources(self._witnesses, lambda: DAY, offer=self.source.offer)
        self.rotation = Rotation(storage, self.domain, sources, news, self.time)

    def _warn(self, reason: str, sentence: str) -> None:
        self.events.append((reason, sentence))

    def _witnesses(self) -> list[Witness]:
        known = self.rotation.authorities
        return [Witness("shop/cart", self.time.now(), known.fingerprint, (known.active.key_id,))]

    async def begin(self) -> None:
        await self.domain.ensure()
        await self.source.look()
        await self.rotation.begin()

    async def asks(self, issuer: dict[str, Any], **rotation: Any) -> None:
        """As a person does with kubectl, and the watch tells."""
        await self.domain.ensure()
        raw = await self.api.get(OURS)
        metadata = raw["metadata"] | {"generation": raw["metadata"].get("generation", 1) + 1}
        self.api.put(OURS, {"metadata": metadata, "spec": {"issuer": issuer, "rotation": rotation}})
        self.domain.see(Target(TRUST_DOMAINS, "", "cluster.local"), self.api.objects[OURS])

    def issued(self, ca: Ca, **changes: bytes | None) -> None:
        """Somebody writes the Secret, over what it held."""
        self.api.put(THEIRS, {"metadata": {"name": "handfast-issuer"}, "data": ca.secret(**changes)})

    async def passes(self, rounds: int = 6) -> None:
        """Looks of both; the clock goes on by a second in between."""
        for _ in range(rounds):
            await self.source.look()
            await self.rotation.look()
            await self.time.advance(timedelta(seconds=1))

    @property
    def signer(self) -> Authority:
        return self.rotation.authorities.active

    def accepted(self) -> dict[str, Any]:
        status = TrustDomainStatus(lambda: self.rotation.standing, self.time.now).compute(self.api.objects[OURS])
        return next(each for each in status["conditions"] if each["type"] == "IssuerAccepted")

    def secrets(self) -> list[str]:
        return [path for path in self.api.objects if "/secrets/handfast-authority-" in path]


def intermediate(**words: Any) -> Ca:
    return make_ca(ROOT, **words)


async def test_the_first_authority_of_all_is_the_external_issuers_where_it_is_there() -> None:
    world, theirs = World(), intermediate()
    world.issued(theirs)
    await world.asks(SECRET_REF)
    await world.begin()
    await world.passes()
    assert world.signer.certificate == theirs.certificate
    assert world.signer.chain == (theirs.certificate,)
    assert world.rotation.authorities.bundle == (ROOT.certificate,)
    assert len(world.secrets()) == 1
    assert world.accepted()["status"] == "True"


async def test_from_self_signed_to_external_and_back_through_all_states() -> None:
    world, theirs = World(), intermediate()
    await world.begin()
    own = world.signer.certificate
    world.issued(theirs)
    await world.asks(SECRET_REF)
    await world.passes()
    assert world.signer.certificate == theirs.certificate
    assert own not in world.rotation.authorities.bundle
    await world.asks({"selfSigned": {}})
    await world.passes()
    assert world.signer.source == ""
    assert ROOT.certificate not in world.rotation.authorities.bundle
    assert world.accepted()["reason"] == "SelfSigned"


async def test_a_renewed_intermediate_signs_and_the_bundle_stays() -> None:
    world = World()
    world.issued(intermediate())
    await world.asks(SECRET_REF)
    await world.begin()
    bundle = world.rotation.authorities.fingerprint
    renewed = intermediate()
    world.issued(renewed)
    await world.passes(1)
    assert world.rotation.authorities.fingerprint == bundle
    await world.passes()
    assert world.signer.certificate == renewed.certificate
    assert world.rotation.authorities.fingerprint == bundle
    assert len(world.secrets()) == 1


async def test_what_was_copied_signs_on_when_the_secret_is_gone() -> None:
    world, theirs = World(), intermediate()
    world.issued(theirs)
    await world.asks(SECRET_REF)
    await world.begin()
    world.api.remove(THEIRS)
    await world.passes()
    assert world.signer.certificate == theirs.certificate
    assert (world.accepted()["status"], world.accepted()["reason"]) == ("False", "NoSecret")
    assert 'handfast_issuer_refused{reason="no_secret"} 1' in world.registry.render()
    world.issued(theirs)
    await world.passes()
    assert world.accepted()["status"] == "True"
    assert 'reason="no_secret"' not in world.registry.render()
    assert len(world.secrets()) == 1


async def test_a_bad_one_is_refused_in_a_sentence_once_and_the_old_one_signs() -> None:
    world, theirs = World(), intermediate()
    world.issued(theirs)
    await world.asks(SECRET_REF)
    await world.begin()
    world.issued(intermediate(path_length=0), key=theirs.key_pem)
    await world.passes()
    condition = world.accepted()
    assert (condition["status"], condition["reason"]) == ("False", "WrongKey")
    assert "handfast-system/handfast-issuer cannot be the issuer: tls.key is not the key of" in condition["message"]
    assert world.signer.certificate == theirs.certificate
    assert [reason for reason, _ in world.events] == ["IssuerAccepted", "IssuerRefused"]
    await world.time.advance(timedelta(hours=1))
    await world.source.look()
    assert [reason for reason, _ in world.events][2:] == ["IssuerRefused"]


async def test_leaves_that_peers_would_refuse_are_found_out_in_the_trial() -> None:
    world = World()
    await world.begin()
    world.issued(intermediate(permitted=[x509.UniformResourceIdentifier("other.example")]))
    await world.asks(SECRET_REF)
    await world.passes()
    assert world.accepted()["reason"] == "NameConstraints"
    assert world.signer.source == ""


async def test_a_serial_number_of_another_authority_in_use_is_refused() -> None:
    world, first, other = World(), intermediate(serial=7), make_ca(make_ca(), serial=7)
    world.issued(first)
    await world.asks(SECRET_REF)
    await world.begin()
    world.issued(other)
    await world.passes()
    assert world.accepted()["reason"] == "SerialInUse"
    assert world.signer.certificate == first.certificate


async def test_two_roots_with_one_serial_number_are_both_trusted_meanwhile() -> None:
    world = World()
    world.issued(make_ca(make_ca(serial=1)))
    await world.asks(SECRET_REF)
    await world.begin()
    world.issued(make_ca(make_ca(serial=1)))
    seen = set()
    world.rotation.subscribe(lambda known: seen.add(len(known.bundle)))
    await world.passes()
    assert seen == {1, 2}


async def test_a_young_certificate_is_made_known_at_once_and_signs_when_slow_clocks_believe_it() -> None:
    world = World()
    await world.begin()
    young = intermediate(now=world.time.now(), start=timedelta())
    world.issued(young)
    await world.asks(SECRET_REF)
    await world.passes()
    assert ROOT.certificate in world.rotation.authorities.bundle
    assert world.signer.source == ""
    assert "clocks are behind" in world.rotation.standing.plan.message
    await world.time.advance(timedelta(minutes=4))
    await world.passes()
    assert world.signer.certificate == young.certificate


async def test_an_authority_renewed_with_its_key_is_trusted_for_one_life_of_a_leaf() -> None:
    world, theirs = World(), intermediate()
    world.issued(theirs)
    await world.asks(SECRET_REF)
    await world.begin()
    renewed = intermediate(key=theirs.key)
    world.issued(renewed)
    await world.passes()
    assert world.signer.certificate == renewed.certificate
    assert len(world.secrets()) == 2
    await world.time.advance(DAY)
    await world.passes()
    assert len(world.secrets()) == 1


async def test_an_issuer_that_was_never_renewed_is_followed_by_a_root_of_our_own_before_it_ends() -> None:
    world = World()
    ending = intermediate(ttl=30 * DAY, now=world.time.now(), start=-DAY)
    world.issued(ending)
    await world.asks(SECRET_REF)
    await world.begin()
    await world.time.advance(23 * DAY)
    await world.passes()
    assert world.signer.certificate == ending.certificate
    await world.time.advance(6 * DAY)
    await world.passes()
    assert world.accepted()["reason"] == "EndsSoon"
    assert world.signer.source == ""
    renewed = intermediate()
    world.issued(renewed)
    await world.time.advance(DAY)
    await world.passes()
    assert world.signer.certificate == renewed.certificate


async def test_an_api_server_that_is_away_changes_nothing() -> None:
    world, theirs = World(), intermediate()
    world.issued(theirs)
    await world.asks(SECRET_REF)
    await world.begin()
    before = world.source.offer()
    world.api.away = True
    with pytest.raises(ApiError):
        await world.source.look()
    assert world.source.offer() == before


async def test_a_renewal_is_noticed_within_ten_seconds_and_a_changed_spec_at_once() -> None:
    world, theirs = World(), intermediate()
    await world.begin()
    changes: list[object] = []
    world.source.changed = lambda: changes.append(world.source.offer())
    task = asyncio.ensure_future(world.source.run())
    world.issued(theirs)
    await world.asks(SECRET_REF)
    await world.time.advance(timedelta())
    assert len(changes) == 1
    await world.time.advance(3 * LOOK)
    assert len(changes) == 1
    world.issued(intermediate())
    await world.time.advance(LOOK)
    assert len(changes) == 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_is_told_of_an_issuer_has_nothing_of_a_key() -> None:
    world, theirs = World(), intermediate()
    world.issued(theirs)
    await world.asks(SECRET_REF)
    await world.begin()
    world.issued(intermediate(), key=theirs.key_pem)
    await world.passes()
    told = f"{world.events} {world.accepted()} {world.source.offer()!r} {world.rotation.standing!r}"
    assert not any(line in told for line in theirs.key_pem.decode().splitlines())
