"""Our own TrustDomain: what it asks for, as it was last seen."""

from typing import Any

from handfast_operator.cluster.kinds import MTLS_POLICIES, TRUST_DOMAINS
from handfast_operator.controller.status import Target
from handfast_operator.controller.trust_domain import OwnTrustDomain
from handfast_operator.resources.trust_domain import RotationSpec
from support.memory_api import MemoryApi

OURS = Target(TRUST_DOMAINS, "", "cluster.local")


def seen(version: int, generation: int = 1, **rotation: Any) -> dict[str, Any]:
    metadata = {"name": "cluster.local", "uid": "u", "resourceVersion": str(version), "generation": generation}
    return {"metadata": metadata, "spec": {"issuer": {"selfSigned": {}}, "rotation": rotation}}


def domain() -> tuple[OwnTrustDomain, list[RotationSpec]]:
    ours, heard = OwnTrustDomain(MemoryApi(), "cluster.local"), list[RotationSpec]()
    ours.subscribe(lambda: heard.append(ours.now.rotation))
    return ours, heard


async def test_it_is_made_when_there_is_none_and_asks_for_nothing() -> None:
    ours, _heard = domain()
    await ours.ensure()
    assert ours.now.rotation == RotationSpec()
    assert (ours.regarding.kind, ours.regarding.name, ours.regarding.uid) == (
        "TrustDomain",
        "cluster.local",
        ours.now.uid,
    )


def test_what_is_asked_for_is_heard_of_once() -> None:
    ours, heard = domain()
    ours.see(OURS, seen(1))
    ours.see(
        OURS, seen(2, 2, trigger="2026-11", paused=True, force="handfast-authority-2", back="handfast-authority-1")
    )
    ours.see(
        OURS, seen(3, 2, trigger="2026-11", paused=True, force="handfast-authority-2", back="handfast-authority-1")
    )
    asked = RotationSpec("2026-11", True, "handfast-authority-2", "handfast-authority-1")
    assert heard == [RotationSpec(), asked]


def test_what_the_watch_tells_late_undoes_nothing() -> None:
    ours, heard = domain()
    ours.see(OURS, seen(7, 2, trigger="2026-11"))
    ours.see(OURS, seen(5, 1))
    assert ours.now.rotation.trigger == "2026-11"
    assert len(heard) == 1


def test_other_objects_are_none_of_its_affairs() -> None:
    ours, heard = domain()
    ours.see(Target(TRUST_DOMAINS, "", "other.example"), seen(9, 9, trigger="x"))
    ours.see(Target(MTLS_POLICIES, "shop", "cluster.local"), seen(9, 9, trigger="x"))
    ours.forget(OURS)
    assert heard == []


async def test_a_value_of_the_chart_that_has_no_effect_any_more_is_told() -> None:
    ours = OwnTrustDomain(MemoryApi(), "cluster.local", "corporate-ca")
    assert ours.unheeded == ""
    await ours.ensure()
    assert ours.unheeded == "", "the object that was made has what the value asks for"
    version = ours.now.resource_version
    ours.see(OURS, seen(version + 1, 2) | {"spec": {"issuer": {"selfSigned": {}}}})
    assert "issuer.secretName is corporate-ca, without effect" in ours.unheeded
    assert "says selfSigned, which holds" in ours.unheeded
    ours.see(OURS, seen(version + 2, 3) | {"spec": {"issuer": {"secretRef": {"name": "other"}}}})
    assert "says secretRef other, which holds" in ours.unheeded


def test_an_issuer_that_somebody_chose_is_no_affair_of_an_unset_value() -> None:
    ours, _heard = domain()
    ours.see(OURS, seen(1) | {"spec": {"issuer": {"secretRef": {"name": "other"}}}})
    assert ours.unheeded == ""
