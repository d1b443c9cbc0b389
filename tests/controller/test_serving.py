"""The operator's own certificates, and the caBundle that names who signed them."""

import base64
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from handfast_operator.authority.authority import Authority, AuthoritySet
from handfast_operator.authority.root import make_root
from handfast_operator.authority.state import AuthorityState
from handfast_operator.cluster.kinds import MUTATING_WEBHOOKS, SECRETS, VALIDATING_WEBHOOKS
from handfast_operator.controller.serving import ServingCertificates
from handfast_operator.settings import Settings
from support.memory_api import MemoryApi
from support.virtual_time import START

WEBHOOK = SECRETS.item("handfast-system", "handfast-webhook-tls")
DIRECTORY = SECRETS.item("handfast-system", "handfast-directory-tls")
MUTATING = MUTATING_WEBHOOKS.item("", "handfast")


def authority(number: int, state: AuthorityState = AuthorityState.ACTIVE) -> Authority:
    root = make_root("cluster.local", START)
    return Authority(f"handfast-authority-{number}", "cluster.local", state, root.certificate, root.key)


class Rig:
    def __init__(self) -> None:
        self.api = MemoryApi()
        self.now = START
        self.authorities = AuthoritySet("cluster.local", (authority(1),))
        self.serving = ServingCertificates(self.api, Settings(), lambda: self.authorities, clock=self.clock)

    def clock(self) -> datetime:
        return self.now

    def install(self) -> None:
        """As the chart does: without a caBundle."""
        for kind, names in ((MUTATING_WEBHOOKS, ["namespace", "pod"]), (VALIDATING_WEBHOOKS, ["ephemeral"])):
            webhooks = [{"name": name, "clientConfig": {"service": {"path": "/x"}}} for name in names]
            self.api.put(kind.item("", "handfast"), {"metadata": {"name": "handfast"}, "webhooks": webhooks})

    def file(self, path: str, name: str) -> bytes:
        return base64.b64decode(self.api.objects[path]["data"][name])

    def leaf(self, path: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.file(path, "tls.crt"))

    def bundles(self) -> list[bytes]:
        configurations = [
            self.api.objects[kind.item("", "handfast")] for kind in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS)
        ]
        return [
            base64.b64decode(each["clientConfig"]["caBundle"]) for one in configurations for each in one["webhooks"]
        ]


def names(leaf: x509.Certificate) -> list[Any]:
    return [each.value for each in leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value]


async def test_the_webhook_is_known_by_its_service_and_the_directory_by_its_identity() -> None:
    rig = Rig()
    await rig.serving.ensure()
    service = "handfast-webhook.handfast-system.svc"
    assert names(rig.leaf(WEBHOOK)) == [service, f"{service}.cluster.local"]
    assert names(rig.leaf(DIRECTORY)) == ["spiffe://cluster.local/ns/handfast-system/sa/handfast-directory"]
    assert rig.file(WEBHOOK, "ca.crt") == rig.file(DIRECTORY, "ca.crt") == rig.authorities.bundle_pem
    assert rig.api.objects[WEBHOOK]["metadata"]["labels"] == {"handfast.dev/serving": "webhook"}


async def test_a_good_certificate_is_left_alone() -> None:
    rig = Rig()
    await rig.serving.ensure()
    rig.now += timedelta(days=3)
    await rig.serving.ensure()
    assert (rig.api.count("create"), rig.api.count("replace")) == (2, 0)


async def test_a_certificate_is_renewed_at_half_of_its_life() -> None:
    rig = Rig()
    await rig.serving.ensure()
    before = rig.leaf(WEBHOOK).serial_number
    rig.now += timedelta(days=3, hours=12)
    await rig.serving.ensure()
    assert rig.leaf(WEBHOOK).serial_number != before


async def test_how_long_they_live_is_known_and_told_when_it_changes() -> None:
    rig = Rig()
    told: list[None] = []
    rig.serving.changed = lambda: told.append(None)
    await rig.serving.ensure()
    before, leaf = dict(rig.serving.lives), rig.leaf(WEBHOOK)
    assert before.keys() == {"webhook", "directory"}
    assert (before["webhook"].begins, before["webhook"].ends) == (rig.now, leaf.not_valid_after_utc)
    await rig.serving.ensure()
    assert len(told) == 2
    rig.now += timedelta(days=4)
    await rig.serving.ensure()
    assert len(told) == 4
    assert rig.serving.lives["webhook"].ends == before["webhook"].ends + timedelta(days=4)


async def test_a_new_root_in_the_bundle_reaches_the_secrets_and_the_configurations() -> None:
    rig = Rig()
    rig.install()
    await rig.serving.ensure()
    rig.authorities = AuthoritySet(
        "cluster.local", (*rig.authorities.authorities, authority(2, AuthorityState.DISTRIBUTED))
    )
    await rig.serving.ensure()
    assert rig.file(WEBHOOK, "ca.crt") == rig.authorities.bundle_pem
    assert rig.bundles() == [rig.authorities.bundle_pem] * 3


@pytest.mark.parametrize("damage", [{"tls.key": ""}, {"tls.crt": "AAAA"}, {"ca.crt": "AAAA"}, {"tls.key": "!"}])
async def test_a_damaged_secret_is_written_anew(damage: dict[str, str]) -> None:
    rig = Rig()
    await rig.serving.ensure()
    raw = rig.api.objects[WEBHOOK]
    rig.api.put(WEBHOOK, raw | {"data": raw["data"] | damage})
    await rig.serving.ensure()
    assert rig.file(WEBHOOK, "ca.crt") == rig.authorities.bundle_pem
    assert b"PRIVATE KEY" in rig.file(WEBHOOK, "tls.key")


async def test_a_key_of_another_certificate_is_noticed() -> None:
    rig = Rig()
    await rig.serving.ensure()
    raw, foreign = rig.api.objects[WEBHOOK], rig.api.objects[DIRECTORY]["data"]["tls.key"]
    rig.api.put(WEBHOOK, raw | {"data": raw["data"] | {"tls.key": foreign}})
    await rig.serving.ensure()
    assert rig.api.objects[WEBHOOK]["data"]["tls.key"] != foreign


async def test_the_bundle_is_written_into_every_webhook_and_put_right_when_it_is_emptied() -> None:
    rig = Rig()
    rig.install()
    await rig.serving.ensure()
    assert rig.bundles() == [rig.authorities.bundle_pem] * 3
    rig.install()
    await rig.serving.ensure()
    assert rig.bundles() == [rig.authorities.bundle_pem] * 3
    assert rig.api.objects[MUTATING]["webhooks"][1]["clientConfig"]["service"] == {"path": "/x"}


async def test_right_configurations_are_not_written() -> None:
    rig = Rig()
    rig.install()
    for _ in range(3):
        await rig.serving.ensure()
    assert rig.api.count("patch") == 2


async def test_no_configuration_is_no_error() -> None:
    rig = Rig()
    await rig.serving.ensure()
    assert rig.api.count("patch") == 0
