"""The console script: exit codes, sentences, signals."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from handfast_operator.cluster.client import ApiError
from handfast_operator.main import main, run_role
from handfast_operator.settings import Settings
from handfast_sidecar.errors import BadConfig, HandfastError
from handfast_sidecar.observe import logs


def role(monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    """Put a role in the place of the controller."""
    module = ModuleType("handfast_operator.controller.server")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "handfast_operator.controller.server", module)


def test_sigterm_lets_a_role_drain_and_is_a_good_end(monkeypatch: pytest.MonkeyPatch) -> None:
    drained: list[str] = []

    async def run(settings: Settings) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            drained.append(settings.namespace)

    role(monkeypatch, run)
    assert run_role("controller", Settings()) == 0
    assert drained == ["handfast-system"]


def test_an_error_in_a_group_of_groups_is_one_sentence_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise ApiError(403, "Forbidden", "leases is forbidden")

    async def run(_settings: Settings) -> None:
        async with asyncio.TaskGroup() as outer:
            async with asyncio.TaskGroup() as inner:
                inner.create_task(fail())
            outer.create_task(asyncio.sleep(0))

    role(monkeypatch, run)
    assert run_role("controller", Settings()) == 1
    assert [vars(each)["detail"] for each in caplog.records if each.levelname == "ERROR"] == [
        "leases is forbidden (403 Forbidden)"
    ]


def test_an_error_of_ours_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(_settings: Settings) -> None:
        raise HandfastError("no")

    role(monkeypatch, run)
    assert run_role("controller", Settings()) == 1


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("HANDFAST_TRUST_DOMAIN", "Upper.Case", "trustDomain"),
        ("HANDFAST_CLUSTER_RANGES", "10.0.0.0/8,nonsense", "clusterRanges"),
        ("HANDFAST_SIDECAR_RESOURCES", "{", "no JSON"),
        ("HANDFAST_SIDECAR_RESOURCES", "[]", "expected an object"),
    ],
)
def test_an_unusable_setting_is_named(name: str, value: str, word: str) -> None:
    with pytest.raises(BadConfig, match=name) as refused:
        Settings.from_environment({name: value})
    assert word in str(refused.value)


def test_unusable_settings_are_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "configure", lambda _level: None)  # it would take pytest's own handlers away
    monkeypatch.setenv("HANDFAST_TRUST_DOMAIN", "Upper.Case")
    assert main(["controller"]) == 2


def test_settings_have_defaults_that_the_chart_need_not_repeat() -> None:
    settings = Settings.from_environment(
        {"HANDFAST_CLUSTER_RANGES": " 10.0.0.0/8, fd00::/8 ", "HANDFAST_LOG_LEVEL": ""}
    )
    assert [str(each) for each in settings.cluster_ranges] == ["10.0.0.0/8", "fd00::/8"]
    assert settings.tls_dir == Path("/var/run/handfast/serving")
    assert str(settings.directory_id) == "spiffe://cluster.local/ns/handfast-system/sa/handfast-directory"
