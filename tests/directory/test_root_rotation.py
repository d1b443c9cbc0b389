"""Sidecars and the directory, while the roots that vouch for both are replaced."""

from dataclasses import replace
from pathlib import Path

import pytest

from handfast_operator.directory.server import DirectoryServer
from handfast_sidecar.directory import reporter
from support.directory import Lab, Sidecar, count, until
from support.pki import Issued, TestAuthority, write_files
from support.stores import TRUST_DOMAIN, Cluster, pod

CART = pod("cart", "10.0.0.1")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, Cluster(CART))


@pytest.fixture
def new() -> TestAuthority:
    return TestAuthority(TRUST_DOMAIN)


def signed(lab: Lab, by: TestAuthority, *trusted: TestAuthority) -> Issued:
    """The sidecar's leaf of an authority, and a bundle."""
    issued = by.issue("spiffe://test.example/ns/shop/sa/cart", pod_uid=CART.uid)
    return replace(issued, bundle=b"".join(each.bundle_pem for each in trusted or (by,)))


def serve(lab: Lab, server: DirectoryServer, by: TestAuthority, *trusted: TestAuthority) -> None:
    """The directory's certificate of an authority, and a bundle, are loaded."""
    issued = by.issue(lab.settings.directory_id)
    write_files(lab.settings.tls_dir, replace(issued, bundle=b"".join(each.bundle_pem for each in trusted or (by,))))
    assert server.certificate.look()


async def reopened(sidecar: Sidecar, times: int) -> None:
    await sidecar.ended("renewed", times)
    await until(lambda: sidecar.directory.connected)


async def test_a_sidecar_stays_connected_in_each_state_of_a_rotation(lab: Lab, new: TestAuthority) -> None:
    old = lab.authority
    async with lab.server() as server, lab.sidecar(CART) as sidecar:
        await until(lambda: sidecar.directory.connected)
        sidecar.renew(signed(lab, old, old, new))
        await reopened(sidecar, 1)
        serve(lab, server, old, old, new)
        sidecar.renew(signed(lab, new, old, new))
        await reopened(sidecar, 2)
        serve(lab, server, new, old, new)
        sidecar.renew(signed(lab, new, old, new))
        await reopened(sidecar, 3)
        serve(lab, server, new, new)
        sidecar.renew(signed(lab, new, new))
        await reopened(sidecar, 4)
        assert len(server.switchboard) == 1
        assert {each.peer.root for each in server.switchboard._connections} == server.certificate.anchors
        text = sidecar.registry.render()
        assert 'reason="goodbye"' not in text
        assert 'reason="root_retired"' not in text


async def test_a_session_whose_leafs_root_left_the_directorys_bundle_ends(lab: Lab, new: TestAuthority) -> None:
    old = lab.authority
    async with lab.server() as server, lab.sidecar(CART, signed(lab, old, old, new)) as sidecar:
        await until(lambda: sidecar.directory.connected)
        serve(lab, server, new)
        await until(lambda: count(lab.registry, "handfast_directory_sessions_ended_total", "root_retired") == 1)
        await lab.refused("untrusted")
        sidecar.renew(signed(lab, new))
        await until(lambda: sidecar.directory.connected)


async def test_a_stream_of_a_directory_whose_root_left_the_sidecars_bundle_ends_at_once(
    lab: Lab, new: TestAuthority
) -> None:
    old = lab.authority
    async with lab.server() as server, lab.sidecar(CART, signed(lab, old, old, new)) as sidecar:
        await until(lambda: sidecar.directory.connected)
        sidecar.directory._tenure.move_s = 1e6
        sidecar.renew(signed(lab, new))
        await sidecar.ended("root_retired")
        serve(lab, server, new, old, new)
        await until(lambda: sidecar.directory.connected)


async def test_news_is_reported_without_waiting_for_the_next_report(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "REPORT_EVERY_S", 1e6)
    monkeypatch.setattr(reporter, "REPORT_SOON_S", 0.05)

    def told() -> tuple[str, ...]:
        said = server.evidence.of(CART.uid)
        return said.issuers if said is not None else ()

    async with lab.server() as server, lab.sidecar(CART) as sidecar:
        sidecar.report = replace(sidecar.report, issuers=("aa",))
        await until(lambda: server.evidence.of(CART.uid) is not None)
        for issuers in (("aa", "bb"), ("bb",)):
            sidecar.report = replace(sidecar.report, issuers=issuers)
            sidecar.directory.report_soon()
            await until(lambda expected=issuers: told() == expected)  # type: ignore[misc]
