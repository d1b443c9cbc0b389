"""`handfast rotate` against the lab's API server: what it asks for, what it tells, and when it is done."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest

from cli.lab_stage import Api, Json, read, run
from handfast_operator.cli import rotate
from handfast_operator.cli.errors import NO, USAGE, YES, CliError
from handfast_operator.cli.following import versions
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import TRUST_DOMAINS

Output = pytest.CaptureFixture[str]
PATH = TRUST_DOMAINS.item("", "cluster.local")
PAUSED_POD = {"pod": "shop/paused", "reason": "unreported", "message": "nothing was heard of it for 60 s"}


def authority(number: int, state: str) -> Json:
    return {"name": f"handfast-authority-{number}", "state": state, "notAfter": "2099-01-01T00:00:00Z"}


class Operator:
    """Writes the status, as the controller does."""

    def __init__(self, client: ApiClient) -> None:
        self.client = client

    async def says(self, state: str, *authorities: Json, **rotation: Any) -> None:
        nobody = {"authority": "", "waiting": 0, "stragglers": [], "message": ""}
        said = {"authorities": list(authorities), "rotation": {"state": state} | nobody | rotation}
        await self.client.patch(f"{PATH}/status", {"status": said})

    async def rotation(self) -> Json:
        """What is asked for."""
        found: Json = (await self.client.get(PATH))["spec"].get("rotation") or {}
        return found

    async def asked(self, field: str) -> str:
        """Until it is."""
        async with asyncio.timeout(10):
            async with aclosing(versions(self.client, TRUST_DOMAINS, "", "cluster.local")) as changes:
                async for each in changes:
                    if found := (each["spec"].get("rotation") or {}).get(field):
                        return str(found)
        raise AssertionError("it was deleted")

    async def left_out(self, field: str) -> None:
        """Until it is."""
        async with asyncio.timeout(10):
            async with aclosing(versions(self.client, TRUST_DOMAINS, "", "cluster.local")) as changes:
                async for each in changes:
                    if field not in (each["spec"].get("rotation") or {}):
                        return


class Told:
    """What the verb has printed until now."""

    def __init__(self, capsys: Output) -> None:
        self._capsys = capsys
        self.text = ""

    async def until(self, words: str) -> None:
        async with asyncio.timeout(10):
            while words not in self.text:
                printed = self._capsys.readouterr()
                self.text += printed.out + printed.err
                await asyncio.sleep(0.01)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def client(api: Api) -> AsyncIterator[ApiClient]:
    async with api.serving(("trustdomains",), ("shop",)) as found:
        yield found


@pytest.fixture
async def operator(client: ApiClient) -> Operator:
    body = {"apiVersion": "handfast.dev/v1alpha1", "kind": "TrustDomain", "metadata": {"name": "cluster.local"}}
    await client.create(TRUST_DOMAINS.path, body | {"spec": {"issuer": {"selfSigned": {}}}})
    made = Operator(client)
    await made.says("Idle", authority(1, "Active"))
    return made


async def test_a_rotation_is_followed_from_state_to_state_with_who_is_waited_for(
    operator: Operator, capsys: Output
) -> None:
    told = Told(capsys)
    running = asyncio.create_task(run(rotate, operator.client))
    await told.until("Asked for a new root (")
    assert datetime.fromisoformat(await operator.asked("trigger")) <= datetime.now(UTC)
    waiting = {"authority": "handfast-authority-2", "waiting": 1, "message": "1 sidecar does not trust it yet."}
    await operator.says(
        "Distributing", authority(2, "Distributed"), authority(1, "Active"), stragglers=[PAUSED_POD], **waiting
    )
    await told.until("  waits for shop/paused: unreported: nothing was heard of it for 60 s")
    assert "handfast-authority-2: Distributed" in told.text
    assert "Distributing: 1 sidecar does not trust it yet." in told.text
    await operator.says("Draining", authority(2, "Active"), authority(1, "Draining"), authority="handfast-authority-1")
    await told.until("no longer for shop/paused")
    assert "handfast-authority-2: Distributed -> Active" in told.text
    await operator.says("Idle", authority(2, "Active"), authority(1, "Retired"))
    assert await asyncio.wait_for(running, 10) == YES
    await told.until("Done: handfast-authority-2 signs until 2099-01-01T00:00:00Z.")


async def test_a_rotation_that_somebody_takes_back_is_not_done(operator: Operator, capsys: Output) -> None:
    told = Told(capsys)
    running = asyncio.create_task(run(rotate, operator.client))
    await operator.asked("trigger")
    await operator.says("Distributing", authority(2, "Distributed"), authority(1, "Active"))
    await told.until("handfast-authority-2: Distributed")
    await operator.says("Idle", authority(2, "Retired"), authority(1, "Active"))
    assert await asyncio.wait_for(running, 10) == NO
    await told.until("Taken back: handfast-authority-1 signs until")


async def test_asking_while_another_rotation_runs_waits_for_the_next_one(operator: Operator, capsys: Output) -> None:
    told = Told(capsys)
    await operator.says("Draining", authority(2, "Active"), authority(1, "Draining"))
    running = asyncio.create_task(run(rotate, operator.client))
    await told.until("A rotation is on its way already (Draining): it begins after that one.")
    await operator.says("Idle", authority(2, "Active"), authority(1, "Retired"))
    await told.until("handfast-authority-1: Draining -> Retired")
    assert not running.done()
    await operator.says("Distributing", authority(3, "Distributed"), authority(2, "Active"))
    await told.until("handfast-authority-3: Distributed")
    await operator.says("Idle", authority(3, "Active"), authority(2, "Retired"))
    assert await asyncio.wait_for(running, 10) == YES


async def test_one_who_leaves_is_told_that_it_goes_on(operator: Operator, capsys: Output) -> None:
    told = Told(capsys)
    running = asyncio.create_task(run(rotate, operator.client))
    await told.until("Asked for a new root")
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await told.until("The rotation goes on without you: `handfast rotate --status`")
    assert await operator.asked("trigger")


async def test_what_is_not_done_in_time_goes_on_and_is_told_as_not_done(operator: Operator) -> None:
    await operator.says("Distributing", authority(2, "Distributed"), authority(1, "Active"), waiting=2)
    with pytest.raises(CliError, match=r"not done in time, and it goes on: Distributing, 2 are waited for") as late:
        await run(rotate, operator.client, "--timeout", "1s")
    assert late.value.code == NO


async def test_without_waiting_it_only_asks(operator: Operator, capsys: Output) -> None:
    assert await run(rotate, operator.client, "--no-wait") == YES
    word = await operator.asked("trigger")
    assert capsys.readouterr().out == f"Asked for a new root ({word}).\n"
    found = (await operator.client.get(PATH))["metadata"]["managedFields"]
    assert "handfast-cli" in {each["manager"] for each in found}


async def test_status_shows_and_changes_nothing(operator: Operator, capsys: Output) -> None:
    message = "1 sidecar does not trust it yet."
    await operator.says(
        "Distributing", authority(2, "Distributed"), authority(1, "Active"), waiting=3, stragglers=[PAUSED_POD],
        message=message,
    )  # fmt: skip
    assert await run(rotate, operator.client, "--status") == YES
    printed = capsys.readouterr().out
    assert printed.startswith(f"Distributing, 3 are waited for. {message}\n")
    assert "shop/paused" in printed
    assert printed.endswith("and 2 more\n")
    assert await run(rotate, operator.client, "--status", output="json") == YES
    found = read(capsys.readouterr().out)
    assert (found["rotation"]["stragglers"], found["spec"]) == ([PAUSED_POD], {})
    assert await operator.rotation() == {}


async def test_pausing_and_resuming_at_rest_is_done_at_once(operator: Operator, capsys: Output) -> None:
    assert await run(rotate, operator.client, "--pause") == YES
    assert await operator.rotation() == {"paused": True}
    assert await run(rotate, operator.client, "--no-wait") == YES
    assert "Rotation is paused: it begins after `handfast rotate --resume`." in capsys.readouterr().out
    assert await run(rotate, operator.client, "--resume") == YES
    assert "paused" not in await operator.rotation()


async def test_forcing_names_whom_it_leaves_behind_and_asks(
    operator: Operator, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CliError, match="nothing to force"):
        await run(rotate, operator.client, "--force", "--yes")
    waiting = {"authority": "handfast-authority-2", "waiting": 1, "stragglers": [PAUSED_POD]}
    await operator.says("Distributing", authority(2, "Distributed"), authority(1, "Active"), **waiting)
    with pytest.raises(CliError, match="say --yes") as refused:
        await run(rotate, operator.client, "--force", "--no-wait")
    assert refused.value.code == USAGE
    answers = StringIO("no\n")
    monkeypatch.setattr(answers, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdin", answers)
    with pytest.raises(CliError, match="nothing was forced"):
        await run(rotate, operator.client, "--force", "--no-wait")
    assert await operator.rotation() == {}
    assert "shop/paused" in capsys.readouterr().err
    assert await run(rotate, operator.client, "--force", "--yes", "--no-wait") == YES
    assert await operator.rotation() == {"force": "handfast-authority-2"}
    monkeypatch.setattr(rotate, "FORGOTTEN_WITHIN_S", 0.01)
    seen = asyncio.create_task(operator.left_out("force"))
    assert await run(rotate, operator.client, "--force", "--yes", "--no-wait") == YES
    await seen
    assert await operator.rotation() == {"force": "handfast-authority-2"}, "said again, after it was left out"


@pytest.mark.parametrize(
    ("state", "authorities", "chosen"),
    [
        ("Distributing", (authority(2, "Distributed"), authority(1, "Active")), "handfast-authority-1"),
        ("Draining", (authority(2, "Active"), authority(1, "Draining")), "handfast-authority-1"),
    ],
)
async def test_going_back_names_who_signed_before(
    operator: Operator, state: str, authorities: tuple[Json, ...], chosen: str, capsys: Output
) -> None:
    await operator.says(state, *authorities)
    told = Told(capsys)
    running = asyncio.create_task(run(rotate, operator.client, "--back"))
    assert await operator.asked("back") == chosen
    await operator.says("Idle", authority(2, "Retired"), authority(1, "Active"))
    assert await asyncio.wait_for(running, 10) == YES
    await told.until("Done: handfast-authority-1 signs")
    await run(rotate, operator.client, "--no-wait")
    assert "back" not in await operator.rotation(), "it would keep the next rotation from beginning"


async def test_at_rest_there_is_nothing_to_go_back_to(operator: Operator) -> None:
    with pytest.raises(CliError, match="no rotation to go back in"):
        await run(rotate, operator.client, "--back")


async def test_who_may_not_is_told_which_role_is_missing(api: Api, operator: Operator) -> None:
    api.forbidden.append(("PATCH", "/trustdomains/cluster.local"))
    with pytest.raises(CliError, match="bind the ClusterRole handfast-trust-admin to you") as refused:
        await run(rotate, operator.client, "--no-wait")
    assert refused.value.code == NO


async def test_following_is_for_people(operator: Operator) -> None:
    with pytest.raises(CliError, match="with -o json use --no-wait"):
        await run(rotate, operator.client, output="json")
