"""`handfast certs` against the lab's API server, and a directory's answer through its port-forward."""

import asyncio
import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.lab_stage import Api, Json, read, run
from handfast_operator.authority.schedule import BACKDATE, renew_at
from handfast_operator.cli import certs
from handfast_operator.cli.errors import NO, UNKNOWN, YES, CliError
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import PODS, SECRETS, TRUST_DOMAINS
from handfast_operator.evidence.view import EvidenceView, PodReport, to_json
from handfast_operator.resources.times import format_time

Output = pytest.CaptureFixture[str]
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ROOT = "0a" * 20


class Ports:
    """Of pods: all are on this machine's loopback."""

    async def log(self, *_arguments: Any, **_options: Any) -> AsyncIterator[bytes]:
        nothing: list[bytes] = []
        for each in nothing:
            yield each

    async def spawn(self, *_arguments: Any, **_options: Any) -> Process:
        raise AssertionError

    async def dial(self, _pod: Json, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port)


class World:
    """A trust domain with one root, and pods with leaves of a day."""

    def __init__(self, client: ApiClient, now: datetime) -> None:
        self.client, self.now = client, now
        self.reports: dict[str, PodReport] = {}

    async def trust_domain(self, issued: datetime, spec: Json | None = None, **status: Any) -> None:
        authority = {
            "name": "handfast-authority-1",
            "state": "Active",
            "since": format_time(issued),
            "notBefore": format_time(issued),
            "notAfter": format_time(issued + 90 * DAY),
            "source": "selfSigned",
            "keyIdentifier": ROOT,
            "pods": 2,
        }
        name, issuer = "cluster.local", spec or {"selfSigned": {}}
        body = {"apiVersion": "handfast.dev/v1alpha1", "kind": "TrustDomain", "metadata": {"name": name}}
        await self.client.create(TRUST_DOMAINS.path, body | {"spec": {"issuer": issuer}})
        told = {"authorities": [authority], "rotation": {"state": "Idle"}} | status
        await self.client.patch(f"{TRUST_DOMAINS.item('', name)}/status", {"status": told})

    async def pod(self, name: str, namespace: str = "shop") -> str:
        """With a sidecar that runs; its UID."""
        proxy = {"name": "handfast-proxy", "image": "sidecar:1", "restartPolicy": "Always"}
        volume = {"name": "handfast-identity", "secret": {"secretName": f"{name}-identity"}}
        made = await self.client.create(
            PODS.within(namespace),
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name},
                "spec": {
                    "containers": [{"name": "app", "image": "app:1"}],
                    "initContainers": [proxy],
                    "volumes": [volume],
                },
            },
        )
        running = {"name": "handfast-proxy", "state": {"running": {}}}
        status = {"phase": "Running", "initContainerStatuses": [running]}
        await self.client.patch(f"{PODS.item(namespace, name)}/status", {"status": status})
        return str(made["metadata"]["uid"])

    def reported(self, name: str, uid: str, age: timedelta, serial: str = "1f2e3d4c5b6a7988") -> None:
        issued = (self.now - age).replace(microsecond=0)
        start, end = format_time(issued - BACKDATE), format_time(issued + DAY)
        at = self.now.timestamp()
        self.reports[uid] = PodReport(f"shop/{name}", "", at, serial, end, "", 1, (ROOT,), start)

    async def secret(self, name: str, uid: str, age: timedelta, serial: str) -> None:
        issued = (self.now - age).replace(microsecond=0)
        said = {
            "serial": serial,
            "issued-at": format_time(issued),
            "not-after": format_time(issued + DAY),
            "renew-at": format_time(renew_at(issued, issued + DAY, uid)),
        }
        metadata = {
            "name": f"{name}-identity",
            "labels": {"handfast.dev/identity": "true"},
            "annotations": {f"handfast.dev/{key}": value for key, value in said.items()},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}],
        }
        await self.client.create(SECRETS.within("shop"), {"apiVersion": "v1", "kind": "Secret", "metadata": metadata})

    @asynccontextmanager
    async def directory(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        """One replica, with what was reported until then."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            view = EvidenceView(self.now.timestamp(), (), self.reports, {"one": self.now.timestamp()})
            body = json.dumps(to_json(view)).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            writer.close()

        listening = await asyncio.start_server(answer, "127.0.0.1", 0)
        monkeypatch.setattr("handfast_operator.cli.evidence.EVIDENCE_PORT", listening.sockets[0].getsockname()[1])
        labels = {"app.kubernetes.io/name": "handfast", "app.kubernetes.io/component": "directory"}
        container = {"name": "directory", "image": "operator:1"}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", "labels": labels}}
        await self.client.create(
            PODS.within("handfast-system"), body | {"spec": {"containers": [container], "nodeName": "lab"}}
        )
        await self.client.patch(f"{PODS.item('handfast-system', 'one')}/status", {"status": {"phase": "Running"}})
        async with listening:
            yield


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def world(api: Api) -> AsyncIterator[World]:
    async with api.serving(("trustdomains",), ("shop", "handfast-system"), Ports()) as client:
        yield World(client, datetime.now(UTC))


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line]


async def test_who_may_read_no_secrets_is_told_what_expires_when(
    api: Api, world: World, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    api.forbidden.append(("GET", "/secrets"))
    await world.trust_domain(world.now - 10 * DAY + HOUR)
    world.reported("orders", await world.pod("orders"), HOUR - MINUTE)
    async with world.directory(monkeypatch):
        assert await run(certs, world.client) == YES
    printed = capsys.readouterr()
    heads = [line[0] for line in lines(printed.out)]
    assert heads == ["AUTHORITY", "handfast-authority-1", "POD", "shop/orders"]
    authority, pod = lines(printed.out)[1], lines(printed.out)[3]
    assert (authority[1], authority[4:]) == ("Active", ["80d", "selfSigned", "2"])
    assert (pod[1], pod[2], pod[5:]) == ("1f2e3d4c5b6a", "handfast-authority-1", ["23h", "ok"])
    assert "whether a newer certificate waits to be loaded is not known" in printed.err


async def test_what_is_past_a_threshold_is_first_and_the_exit_code_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    await world.trust_domain(world.now - 10 * DAY)
    world.reported("cart", await world.pod("cart"), HOUR)
    world.reported("orders", await world.pod("orders"), 21 * HOUR)
    async with world.directory(monkeypatch):
        assert await run(certs, world.client, output="json") == NO
        found = read(capsys.readouterr().out)
        assert [each["pod"] for each in found["pods"]] == ["shop/orders", "shop/cart"]
        assert (found["pods"][0]["within"], found["pods"][1]["within"]) == ("sixth", None)
        assert await run(certs, world.client, "--expiring") == NO
        assert [line[0] for line in lines(capsys.readouterr().out)] == ["POD", "shop/orders"]
        assert await run(certs, world.client, "cart") == YES
        assert [line[0] for line in lines(capsys.readouterr().out)][2:] == ["POD", "shop/cart"]
        assert await run(certs, world.client, "shop/cart", "--expiring") == YES
        assert "No certificate" in capsys.readouterr().out
        with pytest.raises(CliError, match="there is no pod shop/nobody with a sidecar"):
            await run(certs, world.client, "nobody")


async def test_a_new_certificate_that_kubelet_has_not_brought_is_seen_by_who_may_read_secrets(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    await world.trust_domain(world.now - 10 * DAY)
    uid = await world.pod("orders")
    world.reported("orders", uid, 7 * HOUR)
    await world.secret("orders", uid, MINUTE, "2b")
    async with world.directory(monkeypatch):
        assert await run(certs, world.client, output="wide") == YES
        row = lines(capsys.readouterr().out)[3]
        assert row[1] == "1f2e3d4c5b6a7988"
        assert " ".join(row).endswith(" 0s ago 2b kubelet has not projected the new one yet, for 60s")
        assert await run(certs, world.client, output="json") == YES
        found = read(capsys.readouterr().out)["pods"][0]
        assert (found["loaded"]["serial"], found["secret"]["serial"]) == ("1f2e3d4c5b6a7988", "2b")


async def test_without_a_directory_secrets_tell_and_without_both_it_cannot_be_found_out(
    api: Api, world: World, capsys: Output
) -> None:
    await world.trust_domain(world.now - 10 * DAY)
    await world.secret("orders", await world.pod("orders"), HOUR, "2b")
    assert await run(certs, world.client) == YES
    printed = capsys.readouterr()
    assert lines(printed.out)[3][-3:] == ["no", "report", "yet"]
    assert "no handfast-directory runs" in printed.err
    api.forbidden.append(("GET", "/secrets"))
    assert await run(certs, world.client) == UNKNOWN


async def test_a_root_past_its_threshold_is_marked_in_every_namespace(world: World, capsys: Output) -> None:
    await world.trust_domain(world.now - 80 * DAY)
    assert await run(certs, world.client) == NO
    printed = capsys.readouterr().out
    assert lines(printed)[1][4:6] == ["9d", "(sixth)"]
    assert "No pod with a sidecar in the namespace shop" in printed


async def test_the_external_issuer_the_rotation_and_the_operators_own_are_told(world: World, capsys: Output) -> None:
    stamp = format_time(world.now)
    refused = {
        "type": "IssuerAccepted",
        "status": "False",
        "reason": "WrongKey",
        "message": "The key is of another certificate.",
        "lastTransitionTime": stamp,
    }
    serving = {"name": "webhook", "notBefore": stamp, "notAfter": format_time(world.now + 7 * DAY + HOUR)}
    await world.trust_domain(
        world.now - DAY,
        conditions=[refused],
        serving=[serving],
        rotation={"state": "Distributing", "message": "Waits for 1 sidecar."},
    )
    assert await run(certs, world.client) == YES
    printed = capsys.readouterr().out
    assert "Rotation: Distributing. Waits for 1 sidecar." in printed
    assert ["webhook", serving["notAfter"], "7d", "ok"] in lines(printed)


async def test_a_missing_right_on_the_trust_domain_leaves_the_authorities_out(
    api: Api, world: World, capsys: Output
) -> None:
    api.forbidden.append(("GET", "/trustdomains"))
    await world.secret("orders", await world.pod("orders"), HOUR, "2b")
    assert await run(certs, world.client) == UNKNOWN
    printed = capsys.readouterr()
    assert lines(printed.out)[1][0] == "shop/orders"
    assert "authorities are left out" in printed.err
