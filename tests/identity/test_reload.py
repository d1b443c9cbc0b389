"""A certificate that works is never given up for one that does not."""

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from handfast_sidecar.errors import BadCertificate
from handfast_sidecar.identity.reload import Identity, IdentityKeeper
from handfast_sidecar.observe.metrics import Registry
from handfast_sidecar.wellknown import FILE_CERTIFICATE
from support.pki import Issued, TestAuthority, new_key, plain_config, project

AUTHORITY = TestAuthority("test.example")
CONFIG = plain_config()


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def first(tmp_path: Path) -> Issued:
    issued = AUTHORITY.issue()
    issued.write(tmp_path, CONFIG)
    return issued


@pytest.fixture
def keeper(tmp_path: Path, registry: Registry, first: Issued) -> IdentityKeeper:
    keeper = IdentityKeeper(tmp_path, registry, poll_s=0.01)
    keeper.load_first()
    return keeper


def test_without_an_identity_there_is_no_sidecar(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(BadCertificate, match="does not exist"):
        IdentityKeeper(tmp_path, registry).load_first()


async def test_a_new_version_is_taken_over_and_told(keeper: IdentityKeeper, tmp_path: Path) -> None:
    told: asyncio.Future[Identity] = asyncio.get_running_loop().create_future()
    keeper.subscribe(told.set_result)
    second = AUTHORITY.issue()
    async with asyncio.timeout(10):
        running = asyncio.create_task(keeper.run())
        second.write(tmp_path, CONFIG)
        identity = await told
        running.cancel()
    assert identity is keeper.current
    assert identity.material.chain == second.chain


def test_what_did_not_change_is_not_read_again(keeper: IdentityKeeper) -> None:
    before = keeper.current
    assert not keeper.look()
    assert keeper.current is before


def test_the_same_content_in_a_new_version_changes_nothing(
    keeper: IdentityKeeper, first: Issued, tmp_path: Path
) -> None:
    before = keeper.current
    first.write(tmp_path, CONFIG)
    assert not keeper.look()
    assert keeper.current is before


def test_a_new_configuration_keeps_the_contexts(keeper: IdentityKeeper, first: Issued, tmp_path: Path) -> None:
    before = keeper.current
    first.write(tmp_path, replace(CONFIG, revision=7))
    assert keeper.look()
    assert keeper.current.material.config.revision == 7
    assert keeper.current.contexts is before.contexts


def test_new_roots_make_new_contexts(keeper: IdentityKeeper, first: Issued, tmp_path: Path) -> None:
    before = keeper.current
    bundle = first.bundle + TestAuthority("test.example").bundle_pem
    replace(first, bundle=bundle).write(tmp_path, CONFIG)
    assert keeper.look()
    assert keeper.current.contexts is not before.contexts


BROKEN = {
    "key_mismatch": replace(AUTHORITY.issue(), key=new_key()),
    "untrusted": replace(AUTHORITY.issue(), bundle=TestAuthority().bundle_pem),
    "expired": AUTHORITY.issue(not_before=datetime.now(UTC) - timedelta(hours=2), ttl=timedelta(hours=1)),
    "ca_as_leaf": AUTHORITY.issue(ca=True),
}


@pytest.mark.parametrize(("reason", "broken"), BROKEN.items(), ids=BROKEN)
def test_a_broken_version_never_costs_the_working_one(
    keeper: IdentityKeeper, registry: Registry, tmp_path: Path, reason: str, broken: Issued
) -> None:
    before = keeper.current
    broken.write(tmp_path, CONFIG)
    assert not keeper.look()
    assert keeper.current is before
    assert f'handfast_identity_reload_failures_total{{reason="{reason}"}} 1' in registry.render()


def test_a_failure_is_logged_and_counted_once(
    keeper: IdentityKeeper, registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    project(tmp_path, {FILE_CERTIFICATE: b"half of it"})
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            assert not keeper.look()
    assert len(caplog.records) == 1
    assert 'reason="missing_file"} 1' in registry.render()


def test_the_next_good_version_is_taken_after_a_broken_one(keeper: IdentityKeeper, tmp_path: Path) -> None:
    BROKEN["key_mismatch"].write(tmp_path, CONFIG)
    assert not keeper.look()
    good = AUTHORITY.issue()
    good.write(tmp_path, CONFIG)
    assert keeper.look()
    assert keeper.current.material.chain == good.chain


def test_a_listener_that_fails_keeps_no_other_from_being_told(keeper: IdentityKeeper, tmp_path: Path) -> None:
    told: list[Identity] = []

    def fail(_identity: Identity) -> None:
        raise RuntimeError

    keeper.subscribe(fail)
    keeper.subscribe(told.append)
    AUTHORITY.issue().write(tmp_path, CONFIG)
    assert keeper.look()
    assert told == [keeper.current]


def test_an_expired_first_leaf_is_loaded_and_can_be_seen(tmp_path: Path, registry: Registry) -> None:
    BROKEN["expired"].write(tmp_path, CONFIG)
    keeper = IdentityKeeper(tmp_path, registry)
    keeper.load_first()
    assert keeper.expired()


def test_the_times_of_the_leaf_are_metrics(keeper: IdentityKeeper, registry: Registry) -> None:
    leaf, text = keeper.current.leaf, registry.render()
    half = leaf.not_before + (leaf.not_after - leaf.not_before) / 2
    assert f"handfast_certificate_expiration_timestamp_seconds {int(leaf.not_after.timestamp())}\n" in text
    assert f"handfast_certificate_renewal_timestamp_seconds {int(half.timestamp())}" in text
