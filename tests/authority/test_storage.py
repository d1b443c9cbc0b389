"""One Secret per authority, one bundle, and no second root by accident."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from handfast_operator.authority.authority import AuthoritySet, Signer
from handfast_operator.authority.authority_secret import label_value
from handfast_operator.authority.state import AuthorityState, BadTransition
from handfast_operator.authority.storage import AuthorityStorage, new_root
from handfast_operator.cluster.client import ApiError
from handfast_sidecar.identity.bundle import parse_bundle
from support.memory_api import MemoryApi

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRETS = "/api/v1/namespaces/handfast-system/secrets"
BUNDLE = "/api/v1/namespaces/handfast-system/configmaps/handfast-bundle"


class World:
    def __init__(self) -> None:
        self.api = MemoryApi()
        self.warned: list[str] = []
        self.storage = self.another()

    def another(self, trust_domain: str = "cluster.local") -> AuthorityStorage:
        return AuthorityStorage(
            self.api, "handfast-system", trust_domain, lambda reason, _message: self.warned.append(reason)
        )

    def published(self, trust_domain: str = "cluster.local") -> bytes:
        return str(self.api.objects[BUNDLE]["data"][f"{trust_domain}.pem"]).encode()


def serials(authorities: AuthoritySet) -> list[str]:
    return [each.serial for each in authorities.authorities]


async def test_the_first_start_makes_one_active_authority_and_publishes_it() -> None:
    world = World()
    made = await world.storage.ensure(NOW)
    secret = world.api.objects[f"{SECRETS}/handfast-authority-1"]
    assert (made.active.name, made.active.state) == ("handfast-authority-1", AuthorityState.ACTIVE)
    assert secret["type"] == "kubernetes.io/tls"
    assert secret["metadata"]["labels"] == {"handfast.dev/authority": "cluster.local"}
    assert secret["metadata"]["annotations"]["handfast.dev/state"] == "Active"
    assert world.published() == made.bundle_pem
    assert world.warned == []


async def test_the_second_start_makes_nothing() -> None:
    world = World()
    first = await world.storage.ensure(NOW)
    writes = world.api.count("create") + world.api.count("replace")
    second = await world.another().ensure(NOW)
    assert (serials(second), second.fingerprint) == (serials(first), first.fingerprint)
    assert world.api.count("create") + world.api.count("replace") == writes


async def test_two_controllers_that_start_at_once_end_with_one_authority() -> None:
    world = World()
    one, two, three = await asyncio.gather(*(world.another().ensure(NOW) for _ in range(3)))
    assert serials(one) == serials(two) == serials(three)
    assert len([name for name in world.api.objects if name.startswith(SECRETS)]) == 1
    assert world.warned == []


async def test_a_lost_key_leaves_its_certificate_in_the_bundle_and_is_told() -> None:
    world = World()
    first = await world.storage.ensure(NOW)
    world.api.remove(f"{SECRETS}/handfast-authority-1")
    second = await world.storage.ensure(NOW)
    assert second.active.name == "handfast-authority-2"
    assert second.remembered == first.bundle
    assert set(parse_bundle(world.published())) == {first.active.certificate, second.active.certificate}
    assert world.warned == ["AuthorityKeyLost"]


async def test_a_damaged_key_counts_as_lost_and_keeps_its_name() -> None:
    world = World()
    first = await world.storage.ensure(NOW)
    raw = world.api.objects[f"{SECRETS}/handfast-authority-1"]
    world.api.put(f"{SECRETS}/handfast-authority-1", {**raw, "data": {**raw["data"], "tls.key": "AAAA"}})
    second = await world.storage.ensure(NOW)
    assert second.active.name == "handfast-authority-2"
    assert first.active.certificate in second.bundle
    assert world.warned == ["AuthorityUnreadable", "AuthorityKeyLost"]


async def test_a_lost_certificate_leaves_the_bundle_when_it_expires() -> None:
    world = World()
    first = await world.storage.ensure(NOW, timedelta(days=2))
    world.api.remove(f"{SECRETS}/handfast-authority-1")
    await world.storage.ensure(NOW)
    later = await world.storage.ensure(NOW + timedelta(days=3))
    assert first.active.certificate not in later.bundle
    assert world.published() == later.bundle_pem


async def test_an_expired_authority_is_followed_by_a_new_one() -> None:
    world = World()
    await world.storage.ensure(NOW, timedelta(days=1))
    second = await world.storage.ensure(NOW + timedelta(days=2))
    assert second.active.name == "handfast-authority-2"
    assert world.warned == ["AuthorityExpired"]


async def test_a_deleted_or_damaged_bundle_is_written_again() -> None:
    world = World()
    made = await world.storage.ensure(NOW)
    world.api.remove(BUNDLE)
    await world.storage.ensure(NOW)
    assert world.published() == made.bundle_pem
    world.api.put(BUNDLE, {**world.api.objects[BUNDLE], "data": {"cluster.local.pem": "-----BEGIN nothing"}})
    await world.storage.ensure(NOW)
    assert world.published() == made.bundle_pem


async def test_trust_domains_share_the_namespace_but_no_name_and_no_bundle() -> None:
    world = World()
    ours = await world.storage.ensure(NOW)
    theirs = await world.another("other.example").ensure(NOW)
    assert (ours.active.name, theirs.active.name) == ("handfast-authority-1", "handfast-authority-2")
    assert world.published("other.example") == theirs.bundle_pem
    assert world.published() == ours.bundle_pem


async def test_a_move_is_written_over_the_version_that_was_read_alone() -> None:
    world = World()
    authority = (await world.storage.ensure(NOW)).active
    moved = await world.storage.move(authority, AuthorityState.DRAINING, NOW)
    assert (await world.storage.load()).authorities[0].state is AuthorityState.DRAINING
    with pytest.raises(ApiError, match="modified"):
        await world.storage.move(authority, AuthorityState.DRAINING, NOW)
    with pytest.raises(BadTransition, match="only: Active, Retired"):
        await world.storage.move(moved, AuthorityState.PREPARED, NOW)


async def test_what_is_written_of_an_authority_is_read_again() -> None:
    world = World()
    await world.storage.ensure(NOW)
    root = new_root("cluster.local", NOW)
    between = new_root("cluster.local", NOW)
    signer = Signer(between.certificate, between.key, (between.certificate,), root.certificate, "abc")
    made = await world.storage.prepare(signer, NOW, "2026-11")
    await world.storage.rewrite(replace(made, forced=True))
    [read] = [each for each in (await world.storage.load()).authorities if each.name == made.name]
    assert (read.state, read.since, read.trigger) == (AuthorityState.PREPARED, NOW, "2026-11")
    assert (read.source, read.forced, read.chain, read.anchor) == ("abc", True, signer.chain, root.certificate)


async def test_a_retired_one_keeps_its_secret_until_the_bundle_is_without_it() -> None:
    world = World()
    await world.storage.ensure(NOW)
    made = await world.storage.prepare(new_root("cluster.local", NOW), NOW)
    known = await world.storage.load()
    known = known.having(await world.storage.move(made, AuthorityState.DISTRIBUTED, NOW))
    await world.storage.publish(known)
    distributed = next(each for each in known.authorities if each.name == made.name)
    retired = await world.storage.move(distributed, AuthorityState.RETIRED, NOW)
    assert made.certificate in parse_bundle(world.published())
    left = await world.storage.remove(retired, known.having(retired))
    assert parse_bundle(world.published()) == left.bundle
    assert world.api.calls[-1] == ("delete", f"{SECRETS}/{made.name}")
    assert (await world.storage.load()).remembered == ()


async def test_other_refusals_of_the_api_server_are_passed_on() -> None:
    world = World()
    world.api.failures.append(ApiError(403, "Forbidden", "no"))
    with pytest.raises(ApiError, match="no"):
        await world.storage.ensure(NOW)


def test_a_trust_domain_that_is_no_label_is_found_by_its_digest() -> None:
    assert label_value("cluster.local") == "cluster.local"
    assert label_value("x" * 64) == label_value("x" * 64) != label_value("y" * 64)
    assert len(label_value("_odd_")) <= 63
