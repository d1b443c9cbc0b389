"""The decision table: what is done about a Secret follows from pod, Secret and clock alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from handfast_operator.cluster.objects import SecretMeta, parse_secret_meta
from handfast_operator.controller.issuance import (
    Decision,
    Facts,
    Issue,
    Leave,
    Reconfigure,
    Refuse,
    Verify,
    Wait,
    decide,
)
from handfast_operator.resources.times import format_time, parse_time
from support.objects import pod

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
POD = pod("shop", "orders", uid="uid-1")
FACTS = Facts(issuers=frozenset({"a1"}), bundle="bundle-1", config="config-1", ttl=24 * HOUR)
DRAINS_SOON = replace(FACTS, draining={"a1": NOW + HOUR})
ALL_FILES = ("ca.crt", "config.json", "tls.crt", "tls.key")


def secret(**annotations: str) -> SecretMeta:
    """What we wrote an hour ago."""
    written = {
        "handfast.dev/serial": "5e",
        "handfast.dev/not-after": format_time(NOW + 23 * HOUR),
        "handfast.dev/renew-at": format_time(NOW + 12 * HOUR),
        "handfast.dev/config": "config-1",
        "handfast.dev/bundle": "bundle-1",
        "handfast.dev/issuer": "a1",
    } | {f"handfast.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}
    labels = {"handfast.dev/identity": "true"}
    return SecretMeta("shop", POD.secret, "uid-s", 7, labels, written, ("uid-1",), ("handfast-controller",), ALL_FILES)


GOOD = secret()
TABLE: list[tuple[str, SecretMeta | None, Facts, Decision]] = [
    ("no Secret", None, FACTS, Issue("new")),
    ("all is well", GOOD, FACTS, Wait(NOW + 12 * HOUR)),
    ("renewal is due", secret(renew_at=format_time(NOW)), FACTS, Issue("renewal")),
    ("expired", secret(not_after=format_time(NOW)), FACTS, Issue("expired")),
    ("issuer left the bundle", secret(issuer="b2"), FACTS, Issue("issuer_not_trusted")),
    ("the policy's TTL became shorter", GOOD, replace(FACTS, ttl=HOUR), Issue("shorter_ttl")),
    (
        "the leader before had a clock that was ahead",
        secret(not_after=format_time(NOW + 24 * HOUR + 6 * MINUTE)),
        FACTS,
        Wait(NOW + 12 * HOUR),
    ),
    ("the policy's TTL became longer", GOOD, replace(FACTS, ttl=100 * HOUR), Wait(NOW + 12 * HOUR)),
    ("another policy", GOOD, replace(FACTS, config="config-2"), Reconfigure("config")),
    ("another bundle", GOOD, replace(FACTS, bundle="bundle-2"), Reconfigure("bundle")),
    ("its authority drains, its turn has come", GOOD, replace(FACTS, draining={"a1": NOW}), Issue("draining")),
    ("its turn comes", GOOD, replace(FACTS, draining={"a1": NOW + HOUR}), Wait(NOW + HOUR)),
    ("its turn comes, and another bundle", GOOD, replace(DRAINS_SOON, bundle="b"), Reconfigure("bundle")),
    ("it is due before its turn", GOOD, replace(FACTS, draining={"a1": NOW + 20 * HOUR}), Wait(NOW + 12 * HOUR)),
    ("another authority drains", GOOD, replace(FACTS, draining={"b2": NOW}), Wait(NOW + 12 * HOUR)),
    ("due, and another policy", secret(renew_at=format_time(NOW), config="old"), FACTS, Issue("renewal")),
    ("its certificate is revoked", GOOD, replace(FACTS, revoked=frozenset({"5e"})), Issue("revoked")),
    ("another certificate is revoked", GOOD, replace(FACTS, revoked=frozenset({"5f"})), Wait(NOW + 12 * HOUR)),
    ("its identity is revoked", None, replace(FACTS, identity_revoked="why"), Refuse("identity_revoked", "why")),
    (
        "its identity is revoked, and it has a Secret",
        GOOD,
        replace(FACTS, identity_revoked="why"),
        Wait(NOW + 12 * HOUR),
    ),
    (
        "its identity is revoked, and who else is changed",
        GOOD,
        replace(FACTS, identity_revoked="why", config="config-2"),
        Reconfigure("config"),
    ),
    (
        "its identity is revoked, and renewal is due",
        secret(renew_at=format_time(NOW)),
        replace(FACTS, identity_revoked="why"),
        Refuse("identity_revoked", "why"),
    ),
    ("our own write", GOOD, replace(FACTS, trusted_version=7), Wait(NOW + 12 * HOUR)),
    ("changed since we wrote", GOOD, replace(FACTS, trusted_version=6), Verify("foreign_writer")),
    (
        "somebody wrote data",
        replace(GOOD, managers=("handfast-controller", "kubectl")),
        FACTS,
        Verify("foreign_writer"),
    ),
    ("a file is gone", replace(GOOD, data_keys=ALL_FILES[1:]), FACTS, Verify("foreign_writer")),
    ("verified since", replace(GOOD, managers=("x",)), replace(FACTS, trusted_version=7), Wait(NOW + 12 * HOUR)),
    ("the label is gone", replace(GOOD, labels={}), FACTS, Verify("foreign_writer")),
    ("unreadable time", secret(renew_at="soon"), FACTS, Verify("unreadable_annotations")),
    ("time without a zone", secret(renew_at="2026-03-01T00:00:00"), FACTS, Verify("unreadable_annotations")),
    ("no annotations", replace(GOOD, annotations={}), FACTS, Verify("unreadable_annotations")),
]


@pytest.mark.parametrize(("meta", "facts", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_decision(meta: SecretMeta | None, facts: Facts, expected: Decision) -> None:
    assert decide(NOW, POD, meta, facts) == expected


@pytest.mark.parametrize("change", [{"deleting": True}, {"phase": "Succeeded"}, {"phase": "Failed"}, {"meshed": False}])
@pytest.mark.parametrize("meta", [None, GOOD, secret(renew_at=format_time(NOW))])
def test_a_pod_that_is_over_or_unmeshed_gets_nothing_new(change: dict[str, Any], meta: SecretMeta | None) -> None:
    assert decide(NOW, pod("shop", "orders", uid="uid-1", **change), meta, FACTS) == Leave()


@pytest.mark.parametrize("owners", [(), ("uid-2",)])
def test_a_secret_of_somebody_else_is_refused_with_a_remedy(owners: tuple[str, ...]) -> None:
    decision = decide(NOW, POD, replace(GOOD, owner_uids=owners, annotations={}), FACTS)
    assert isinstance(decision, Refuse)
    assert (decision.reason, f"shop/{POD.secret}" in decision.message) == ("foreign_secret", True)
    assert "delete it" in decision.message


def test_a_static_pod_is_refused() -> None:
    decision = decide(NOW, pod("shop", "orders", mirror=True), None, FACTS)
    assert isinstance(decision, Refuse)
    assert decision.reason == "mirror_pod"


def test_times_are_written_and_read_alike() -> None:
    assert parse_time(format_time(NOW)) == NOW
    assert format_time(NOW) == "2026-03-01T12:00:00Z"


def test_managed_fields_tell_who_wrote_which_file() -> None:
    def entry(manager: str, **fields: Any) -> dict[str, Any]:
        return {"manager": manager, "fieldsV1": {f"f:{name}": value for name, value in fields.items()}}

    managed = [
        entry("handfast-controller", data={".": {}, "f:tls.crt": {}}),
        entry("editor", data={"f:tls.key": {}}),
        entry("annotator", metadata={"f:annotations": {"f:handfast.dev/renew-at": {}}}),
        entry("bystander", metadata={"f:labels": {"f:team": {}}}),
    ]
    metadata = {"namespace": "shop", "name": "s", "uid": "u", "resourceVersion": "3", "managedFields": managed}
    meta = parse_secret_meta({"metadata": metadata})
    assert meta.managers == ("annotator", "editor", "handfast-controller")
    assert meta.data_keys == ("tls.crt", "tls.key")


def test_what_others_wrote_beside_our_annotations_is_not_remembered() -> None:
    annotations = {"handfast.dev/serial": "1f", "kubectl.kubernetes.io/last-applied-configuration": "x" * 10_000}
    metadata = {"namespace": "shop", "name": "s", "uid": "u", "resourceVersion": "3", "annotations": annotations}
    assert parse_secret_meta({"metadata": metadata}).annotations == {"handfast.dev/serial": "1f"}
