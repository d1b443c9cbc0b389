"""Whatever somebody does to a pod's Secret: it is put right, and the sidecar meanwhile keeps what works.

Each damage is done while the controller runs, and while it is away; the sidecar reads the same directory throughout.
"""

import base64
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from handfast_sidecar.identity.reload import IdentityKeeper
from handfast_sidecar.observe.metrics import Registry
from support.issuing import DAY, HOUR, NOTHING, ORDERS, PATH, SECRETS, World
from support.objects import pod
from support.pki import project

WEB = pod("shop", "web", uid="uid-2", service_account="web")
FILES = ("tls.crt", "tls.key", "ca.crt", "config.json")
Json = dict[str, Any]
Damage = Callable[[World], None]


def files(change: Callable[[str, bytes, World], bytes | None], *names: str) -> Damage:
    """Edit some of the files; None removes one."""

    def damage(world: World) -> None:
        data = world.api.objects[PATH]["data"]
        world.damage({name: change(name, base64.b64decode(data[name]), world) for name in names})

    return damage


def of_another_pod(name: str, _content: bytes, world: World) -> bytes:
    return base64.b64decode(world.api.objects[f"{SECRETS}/{WEB.secret}"]["data"][name])


def metadata(**change: Any) -> Damage:
    """Write other labels or annotations beside the same data."""

    def damage(world: World) -> None:
        raw = world.api.objects[PATH]
        world.api.put(PATH, {**raw, "metadata": {**raw["metadata"], **change}})

    return damage


def forged(world: World) -> None:
    """An expired leaf whose annotations say that all is well for ever."""
    raw = world.api.objects[PATH]
    fresh = {"handfast.dev/not-after": "2099-01-01T00:00:00Z", "handfast.dev/renew-at": "2098-01-01T00:00:00Z"}
    annotations = {**raw["metadata"]["annotations"], **fresh}
    world.api.put(PATH, {**raw, "metadata": {**raw["metadata"], "annotations": annotations}})


def immutable(world: World) -> None:
    raw = world.api.objects[PATH]
    world.api.put(PATH, {**raw, "immutable": True, "data": {**raw["data"], "tls.key": ""}})


DAMAGES: dict[str, Damage] = {
    **{f"{name} is emptied": files(lambda _name, _content, _world: b"", name) for name in FILES},
    **{
        f"{name} is cut in half": files(lambda _name, content, _world: content[: len(content) // 2], name)
        for name in FILES
    },
    **{f"{name} is removed": files(lambda _name, _content, _world: None, name) for name in FILES},
    **{f"{name} is rubbish": files(lambda _name, _content, _world: bytes(range(256)), name) for name in FILES},
    "the certificate is another pod's": files(of_another_pod, "tls.crt"),
    "the key is another pod's": files(of_another_pod, "tls.key"),
    "certificate and key are another pod's": files(of_another_pod, "tls.crt", "tls.key"),
    "all of it is another pod's": files(of_another_pod, *FILES),
    "the configuration is of another schema": files(lambda *_: b'{"schema": 99}', "config.json"),
    "all files are removed": files(lambda *_: None, *FILES),
    "it is deleted": lambda world: world.api.remove(PATH),
    "it is immutable and damaged": immutable,
    "its label is gone": metadata(labels={}),
    "its annotations are gone": metadata(annotations={}),
    "its annotations say that it is fresh": forged,
}
every_damage = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)


class Sidecar:
    """What kubelet projects and a sidecar reads."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world, self._folder = world, folder
        self.keeper = IdentityKeeper(folder, Registry(), clock=world.time.now)
        self.project()
        self.keeper.load_first()
        world.api.watchers.append(lambda _path, raw, _version: self.project() if raw is not None else None)

    def project(self) -> None:
        """Kubelet brings what is there, good or not; a deleted Secret stays projected as it was."""
        raw = self._world.api.objects.get(PATH)
        if raw is not None:
            project(self._folder, {name: base64.b64decode(text) for name, text in (raw.get("data") or {}).items()})

    def look(self) -> None:
        self.keeper.look()
        assert self.keeper.trouble() == "", "it works all the time"
        assert self.keeper.current.leaf.pod_uid == ORDERS.uid, "under its own name"


def is_right(world: World) -> bool:
    """Whether the Secret is as the controller writes it."""
    raw = world.api.objects[PATH]
    material, recorded = world.material(), raw["metadata"]["annotations"]
    return (
        material.leaf.pod_uid == ORDERS.uid
        and recorded["handfast.dev/serial"] == material.leaf.serial
        and datetime.fromisoformat(recorded["handfast.dev/not-after"]) == material.leaf.not_after
        and raw["metadata"]["labels"] == {"handfast.dev/identity": "true"}
        and "immutable" not in raw
    )


@every_damage
async def test_it_is_put_right_at_once_and_the_sidecar_works_on(damage: Damage, tmp_path: Path) -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        world.pods.put(WEB)
        await world.settle(HOUR)
        sidecar = Sidecar(world, tmp_path)
        damage(world)
        sidecar.look()
        await world.settle(timedelta(seconds=1))
        assert is_right(world)
        sidecar.look()
        await world.settle(2 * DAY)
        sidecar.look()
    assert sidecar.keeper.current.leaf.serial == world.material().leaf.serial


@every_damage
async def test_it_is_put_right_when_the_controller_comes_back(damage: Damage, tmp_path: Path) -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        world.pods.put(WEB)
        await world.settle(HOUR)
    sidecar = Sidecar(world, tmp_path)
    damage(world)
    await world.settle(6 * HOUR)
    sidecar.look()
    async with world.issuer():
        await world.settle(timedelta(seconds=1))
        assert is_right(world)
    sidecar.look()


async def test_a_leaf_that_expired_behind_forged_annotations_is_replaced_when_the_controller_comes_back() -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle(NOTHING)
    forged(world)
    await world.settle(2 * DAY)
    async with world.issuer():
        await world.settle(timedelta(seconds=1))
    assert is_right(world)
    assert world.material().leaf.not_after > world.time.now()


async def test_a_sidecar_whose_leaf_expired_while_nobody_renewed_it_says_so_and_recovers_without_a_restart(
    tmp_path: Path,
) -> None:
    world = World()
    async with world.issuer():
        world.pods.put(ORDERS)
        await world.settle(NOTHING)
    await world.settle(3 * DAY)
    sidecar = Sidecar(world, tmp_path)
    assert "expired at 2026-03-02T12:00:00+00:00, 2 days, 0:00:00 ago" in sidecar.keeper.trouble()
    assert world.events == []
    async with world.issuer():
        await world.settle(timedelta(seconds=1))
    sidecar.look()
    [(of, reason, sentence)] = world.events
    assert (of, reason) == ("orders", "LeafExpired")
    assert "expired at 2026-03-02T12:00:00Z" in sentence
    assert "without a restart" in sentence
