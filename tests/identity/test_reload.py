"""A certificate that works is never given up for one that does not."""

import asyncio
import logging
import re
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


def test_a_sidecar_that_knows_its_pod_begins_with_no_other_pods_identity(
    tmp_path: Path, registry: Registry, first: Issued
) -> None:
    with pytest.raises(BadCertificate, match="who wrote it into this pod's Secret") as refused:
        IdentityKeeper(tmp_path, registry, pod_uid="uid-1").load_first()
    assert refused.value.reason == "wrong_identity"


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
    "wrong_identity": AUTHORITY.issue(pod_uid="another-pods"),
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
    assert "handfast_identity_refused 1" in registry.render()


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
    assert re.search(r"the certificate expired at \S+, \d+:\d\d:\d\d ago", keeper.trouble()), "since when"
    assert "is handfast-controller running" in keeper.trouble()


def test_a_leaf_that_expired_while_its_successor_is_refused_says_both(tmp_path: Path, registry: Registry) -> None:
    BROKEN["expired"].write(tmp_path, CONFIG)
    keeper = IdentityKeeper(tmp_path, registry)
    keeper.load_first()
    BROKEN["key_mismatch"].write(tmp_path, CONFIG)
    assert not keeper.look()
    assert "The newest version of the Secret is refused: tls.key is not the key" in keeper.trouble()
    AUTHORITY.issue().write(tmp_path, CONFIG)
    assert keeper.look()
    assert keeper.trouble() == ""


def test_a_clock_before_the_leafs_first_second_is_named(tmp_path: Path, registry: Registry) -> None:
    AUTHORITY.issue(not_before=datetime.now(UTC) + timedelta(minutes=5)).write(tmp_path, CONFIG)
    keeper = IdentityKeeper(tmp_path, registry)
    keeper.load_first()
    assert "it is behind, or that of handfast-controller's node is ahead" in keeper.trouble()


def test_a_leaf_from_the_future_waits_for_its_first_second_and_the_one_in_use_stays(
    tmp_path: Path, registry: Registry, first: Issued
) -> None:
    """As when the controller's clock is an hour ahead: peers would refuse what it issues now."""
    shift = timedelta(0)
    keeper = IdentityKeeper(tmp_path, registry, clock=lambda: datetime.now(UTC) + shift)
    keeper.load_first()
    early = AUTHORITY.issue(not_before=datetime.now(UTC) + timedelta(minutes=30))
    early.write(tmp_path, CONFIG)
    assert not keeper.look()
    assert keeper.current.material.chain == first.chain
    assert 'reload_failures_total{reason="not_yet_valid"} 1' in registry.render()
    shift = timedelta(minutes=31)
    assert keeper.look()
    assert keeper.current.material.chain == early.chain


def test_the_times_of_the_leaf_are_metrics(keeper: IdentityKeeper, registry: Registry) -> None:
    leaf, text = keeper.current.leaf, registry.render()
    issued = leaf.not_before + timedelta(minutes=4)
    third = issued + (leaf.not_after - issued) / 3
    assert f"handfast_certificate_expiration_timestamp_seconds {int(leaf.not_after.timestamp())}\n" in text
    assert f"handfast_certificate_renewal_timestamp_seconds {int(third.timestamp())}" in text
