"""What config.json says, and when it is another one."""

from datetime import timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING

from handfast_operator.cluster.services import Service
from handfast_operator.cluster.store import Store
from handfast_operator.controller.config import ConfigSource, digest_of
from handfast_operator.policy.index import PolicyIndex
from handfast_operator.resources.policies import ClusterMtlsPolicy, MtlsPolicy, PolicySpec
from handfast_sidecar.config.document import Network, SidecarConfig
from handfast_sidecar.policy.effective import Mode
from support.objects import pod

if TYPE_CHECKING:
    from collections.abc import Callable

    from handfast_operator.cluster.objects import Namespace, Pod

ORDERS = pod("shop", "orders")


class World:
    def __init__(self) -> None:
        self.namespaces: Store[Namespace] = Store()
        self.policies: Store[MtlsPolicy] = Store()
        self.services: Store[Service] = Store()
        cluster: Store[ClusterMtlsPolicy] = Store()
        pods: Store[Pod] = Store()
        self.ranges: tuple[Network, ...] = (ip_network("10.0.0.0/8"),)
        index = PolicyIndex(pods, self.namespaces, self.policies, cluster, "cluster.local")
        self.source = ConfigSource("test.example", "handfast-system", index, self.services, lambda: self.ranges)
        self.told = 0
        self.source.subscribe(self._hear)

    def _hear(self) -> None:
        self.told += 1

    def service(self, *addresses: str, name: str = "handfast-directory") -> Service:
        return Service("handfast-system", name, 5, addresses, ())


def test_without_a_service_the_directory_has_its_dns_name() -> None:
    directory = World().source.wanted(ORDERS).config.directory
    assert (directory.host, directory.port) == ("handfast-directory.handfast-system.svc", 14010)
    assert str(directory.spiffe_id) == "spiffe://test.example/ns/handfast-system/sa/handfast-directory"


def test_the_services_address_is_told_once_and_survives_the_service() -> None:
    world = World()
    for address in ("10.96.0.9", "10.96.0.9"):
        world.services.put(world.service(address))
    world.services.put(world.service("10.96.0.1", name="other"))
    world.services.remove(("handfast-system", "handfast-directory"), 9)
    assert (world.source.wanted(ORDERS).config.directory.host, world.told) == ("10.96.0.9", 1)


def test_a_higher_revision_alone_is_no_other_configuration() -> None:
    world = World()
    before = world.source.wanted(ORDERS)
    world.policies.seen(900)
    after = world.source.wanted(ORDERS)
    assert (before.config.revision, after.config.revision) == (0, 900)
    assert before.digest == after.digest == digest_of(after.config)


def test_a_policy_gives_mode_and_ttl() -> None:
    world = World()
    before = world.source.wanted(ORDERS)
    spec = PolicySpec(Mode.STRICT, ttl=timedelta(hours=1))
    world.policies.put(MtlsPolicy("shop", "p", "u", 7, 1, "2026-01-01T00:00:00Z", None, spec))
    after = world.source.wanted(ORDERS)
    assert (after.config.policy.default.mode, after.ttl) == (Mode.STRICT, timedelta(hours=1))
    assert after.digest != before.digest


def test_other_ranges_are_another_configuration_that_the_sidecar_can_read() -> None:
    world = World()
    before = world.source.wanted(ORDERS)
    world.ranges = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    world.source.changed()
    after = world.source.wanted(ORDERS)
    assert after.digest != before.digest
    assert SidecarConfig.parse(after.config.dump()) == after.config
    assert world.told == 1


def test_pods_of_one_policy_share_what_is_written_until_any_part_of_it_changes() -> None:
    world = World()
    other = pod("shop", "orders-2")
    strict = MtlsPolicy("shop", "strict", "u", 901, 1, "2026-01-01T00:00:00Z", None, PolicySpec(mode=Mode.STRICT))
    first = world.source.wanted(ORDERS)
    assert world.source.wanted(other) is first
    assert first.document == first.config.dump().encode()
    changes: tuple[Callable[[], None], ...] = (
        lambda: world.policies.seen(900),
        lambda: world.services.put(world.service("10.96.0.9")),
        lambda: setattr(world, "ranges", (ip_network("10.0.0.0/9"),)),
        lambda: world.policies.put(strict),
    )
    for change in changes:
        change()
        now = world.source.wanted(ORDERS)
        assert now.config != first.config
        assert now.digest == digest_of(now.config)
        first = now
