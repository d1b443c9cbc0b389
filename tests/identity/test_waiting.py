"""A sidecar whose Secret holds no identity yet: it says so, waits, and begins without a restart."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from handfast_sidecar.config.probes import ProbeTable
from handfast_sidecar.errors import BadCertificate, BadConfig
from handfast_sidecar.identity.material import read_material
from handfast_sidecar.settings import Settings
from handfast_sidecar.waiting import until_usable
from support.mesh import free_port
from support.pki import TestAuthority, new_key, plain_config, project

AUTHORITY = TestAuthority("test.example")
CONFIG = plain_config()
GOOD = AUTHORITY.issue()
FILES = {
    "tls.crt": GOOD.chain_pem,
    "tls.key": GOOD.key_pem,
    "ca.crt": GOOD.bundle,
    "config.json": CONFIG.dump().encode(),
}
DAMAGES = {
    "the bundle lacks its root": FILES | {"ca.crt": TestAuthority("test.example").bundle_pem},
    "the key of another leaf": FILES | {"tls.key": replace(GOOD, key=new_key()).key_pem},
    "an empty certificate": FILES | {"tls.crt": b""},
    "half a certificate": FILES | {"tls.crt": GOOD.chain_pem[:200]},
    "no key": {name: content for name, content in FILES.items() if name != "tls.key"},
    "no configuration": FILES | {"config.json": b"{}"},
}


async def ask(port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer


@asynccontextmanager
async def waiting(folder: Path) -> AsyncIterator[tuple[int, "asyncio.Task[bool]"]]:
    settings = Settings(frozenset({"127.0.0.1"}), ProbeTable({}), identity_path=folder)
    with pytest.raises((BadCertificate, BadConfig)) as caught:
        read_material(folder)
    assert isinstance(caught.value, (BadCertificate, BadConfig))
    port = free_port()
    task = asyncio.create_task(until_usable(settings, caught.value, port))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(10):
        yield port, task


@pytest.mark.parametrize("files", DAMAGES.values(), ids=DAMAGES)
async def test_readyz_says_what_is_wrong_until_the_secret_is_repaired(tmp_path: Path, files: dict[str, bytes]) -> None:
    project(tmp_path, files)
    async with waiting(tmp_path) as (port, task):
        answer = await ask(port, "/readyz")
        assert "503" in answer.splitlines()[0]
        assert "the pod's Secret holds no identity yet" in answer
        assert "handfast_identity_reload_failures_total{" in await ask(port, "/metrics")
        GOOD.write(tmp_path, CONFIG)
        assert await task


async def test_the_sentence_is_of_what_is_wrong_now(tmp_path: Path) -> None:
    project(tmp_path, DAMAGES["no key"])
    async with waiting(tmp_path) as (port, task):
        assert "tls.key does not exist" in await ask(port, "/readyz")
        project(tmp_path, DAMAGES["the bundle lacks its root"])
        while "does not lead to a root" not in await ask(port, "/readyz"):  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0.05)
        GOOD.write(tmp_path, CONFIG)
        assert await task


async def test_an_expired_leaf_is_an_identity_and_not_waited_for(tmp_path: Path) -> None:
    project(tmp_path, DAMAGES["no key"])
    async with waiting(tmp_path) as (_port, task):
        AUTHORITY.issue(not_before=datetime.now(UTC) - timedelta(hours=2)).write(tmp_path, CONFIG)
        assert await task


async def test_a_pod_that_is_deleted_meanwhile_ends_at_once(tmp_path: Path) -> None:
    project(tmp_path, DAMAGES["no key"])
    async with waiting(tmp_path) as (_port, task):
        os.kill(os.getpid(), signal.SIGTERM)
        assert not await task
