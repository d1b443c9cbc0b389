"""`handfast requests`, `approve` and `deny`, against the lab's API server over HTTP with our own custom resources."""

import io
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.lab_stage import Api, Json, run
from handfast_operator.cli import approve, deny, requests
from handfast_operator.cli.errors import NO, UNKNOWN, USAGE, CliError
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import ACCESS_GRANTS, ACCESS_REQUESTS
from handfast_operator.resources.parse_access import parse_access_grant
from support.access import request_body


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def client(api: Api) -> AsyncIterator[ApiClient]:
    async with api.serving(("accessrequests", "accessgrants"), ("web", "shop")) as found:
        yield found


async def ask(client: ApiClient, name: str = "front", **spec: Any) -> Json:
    return await client.create(ACCESS_REQUESTS.within("web"), request_body(name, **spec))


async def grants(client: ApiClient) -> list[Json]:
    found: list[Json] = (await client.get(ACCESS_GRANTS.within("shop")))["items"]
    return found


async def test_a_grant_copies_what_was_asked_and_who_answered(client: ApiClient) -> None:
    asked = await ask(client)
    assert await run(approve, client, "web/front", "--answer", "until Friday") == 0
    [made] = await grants(client)
    end = parse_access_grant(made).expires_at
    assert end is not None
    assert abs(end - datetime.now(UTC) - timedelta(hours=8)) < timedelta(minutes=1)
    assert made["metadata"]["name"].startswith("web.front-")
    assert made["spec"] == {
        "decision": "Approve",
        "request": {"namespace": "web", "name": "front", "uid": asked["metadata"]["uid"]},
        "from": {"namespace": "web", "serviceAccounts": ["front"]},
        "selector": {"matchLabels": {"app": "orders"}},
        "ports": [8080],
        "reason": "the new checkout",
        "answer": "until Friday",
        "answeredBy": "system:serviceaccount:shop:jane",
        "expiresAt": made["spec"]["expiresAt"],
    }
    assert made["metadata"]["managedFields"][0]["manager"] == "handfast-cli"


async def test_a_request_that_is_edited_after_it_was_answered_changes_no_grant(client: ApiClient) -> None:
    await ask(client)
    await run(approve, client, "web/front")
    before = await grants(client)
    await client.patch(ACCESS_REQUESTS.item("web", "front"), {"spec": {"ports": None, "serviceAccounts": ["root"]}})
    assert await grants(client) == before


async def test_a_grant_cannot_be_edited(client: ApiClient) -> None:
    await ask(client)
    await run(approve, client, "web/front")
    [made] = await grants(client)
    path = ACCESS_GRANTS.item("shop", made["metadata"]["name"])
    for change in ({"expiresAt": "2099-01-01T00:00:00Z"}, {"ports": None}, {"answer": "no"}):
        with pytest.raises(ApiError, match="a grant cannot be changed"):
            await client.patch(path, {"spec": change})


async def test_less_time_may_be_given_and_never_more(client: ApiClient) -> None:
    await ask(client)
    for words, sentence in (
        ("9h", "more than the request asks for: 8h at most"),
        ("30s", "too short"),
        ("x", "no dur"),
    ):
        with pytest.raises(CliError, match=sentence) as refused:
            await run(approve, client, "web/front", "--for", words)
        assert refused.value.code == USAGE
    assert await grants(client) == []
    await run(approve, client, "web/front", "--for", "2h")
    end = parse_access_grant((await grants(client))[0]).expires_at
    assert end is not None
    assert end < datetime.now(UTC) + timedelta(hours=2, minutes=1)


async def test_two_who_answer_at_once_write_one_grant(client: ApiClient) -> None:
    await ask(client)
    await run(deny, client, "web/front", "--answer", "use the queue")
    with pytest.raises(
        CliError, match=r"answers it already: Deny, by system:serviceaccount:shop:jane\. To answer anew"
    ):
        await run(approve, client, "web/front")
    [made] = await grants(client)
    assert (made["spec"]["decision"], made["spec"]["answer"]) == ("Deny", "use the queue")
    assert "expiresAt" not in made["spec"]


async def test_a_later_request_of_the_same_name_is_another_one(client: ApiClient) -> None:
    await ask(client)
    await run(approve, client, "web/front")
    await client.delete(ACCESS_REQUESTS.item("web", "front"))
    await ask(client)
    assert await run(approve, client, "web/front") == 0
    assert len(await grants(client)) == 2


async def test_a_request_for_another_namespace_is_not_answered_here(client: ApiClient) -> None:
    await ask(client)
    with pytest.raises(CliError, match="asks for pods of shop, and not of bank: with -n shop"):
        await run(approve, client, "web/front", namespace="bank")


async def test_a_request_that_changed_since_it_was_looked_at_is_not_answered(client: ApiClient) -> None:
    await ask(client)
    await client.patch(ACCESS_REQUESTS.item("web", "front"), {"spec": {"ports": None}})
    with pytest.raises(CliError, match="it is generation 2 now, and not 1") as refused:
        await run(approve, client, "web/front", "--generation", "1")
    assert refused.value.code == NO
    assert await run(approve, client, "web/front", "--generation", "2") == 0


@pytest.mark.parametrize("words", ["front", "web/", "/front", "web/front/x"])
async def test_what_is_no_request_is_said_so(client: ApiClient, words: str) -> None:
    with pytest.raises(CliError, match="write NAMESPACE/NAME"):
        await run(approve, client, words)


async def test_a_request_that_is_not_there(client: ApiClient) -> None:
    with pytest.raises(CliError, match="there is no AccessRequest web/front") as refused:
        await run(approve, client, "web/front")
    assert refused.value.code == UNKNOWN


async def test_who_may_not_answer_is_told_whose_answer_it_is(api: Api, client: ApiClient) -> None:
    await ask(client)
    api.forbidden = [("POST", "/accessgrants")]
    with pytest.raises(
        CliError, match="you may not create AccessGrants in shop, so the answer is not yours"
    ) as refused:
        await run(approve, client, "web/front")
    assert refused.value.code == NO


async def test_who_may_not_read_requests_is_told_which_role_is_missing(api: Api, client: ApiClient) -> None:
    await ask(client)
    api.forbidden = [("GET", "/accessrequests/front"), ("GET", "/accessrequests")]
    with pytest.raises(CliError, match="bind the ClusterRole handfast-request-reader"):
        await run(approve, client, "web/front")
    with pytest.raises(CliError, match="bind the ClusterRole handfast-request-reader"):
        await run(requests, client)


async def test_an_api_server_that_does_not_say_who_asks_leaves_the_name_out(api: Api, client: ApiClient) -> None:
    await ask(client)
    api.forbidden = [("POST", "/selfsubjectreviews")]
    await run(approve, client, "web/front")
    assert "answeredBy" not in (await grants(client))[0]["spec"]


async def test_a_person_is_asked_and_a_no_writes_nothing(client: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    await ask(client)
    terminal = io.StringIO("n\ny\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    with pytest.raises(CliError, match="nothing was answered"):
        await run(approve, client, "web/front")
    assert await grants(client) == []
    assert await run(approve, client, "web/front") == 0


async def test_requests_lists_those_of_the_namespace_the_open_ones_first(
    client: ApiClient, capsys: pytest.CaptureFixture[str]
) -> None:
    await ask(client, "answered")
    await client.patch(
        f"{ACCESS_REQUESTS.item('web', 'answered')}/status",
        {
            "status": {
                "conditions": [
                    {
                        "type": "Active",
                        "status": "True",
                        "reason": "InForce",
                        "message": "",
                        "lastTransitionTime": "2026-03-01T00:00:00Z",
                    }
                ]
            }
        },
    )
    await ask(client, "open", ports=None)
    await ask(client, "elsewhere", target={"namespace": "bank", "selector": {"matchLabels": {"app": "x"}}})
    assert await run(requests, client) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["REQUEST", "CALLERS", "PODS", "PORTS"]
    assert first.startswith("web/open")
    assert "every port" in first
    assert "Pending" in first
    assert second.startswith("web/answered")
    assert "InForce" in second
    await run(requests, client, "--open", output="json")
    assert [each["metadata"]["name"] for each in json.loads(capsys.readouterr().out)["items"]] == ["open"]


async def test_nobody_asks(client: ApiClient, capsys: pytest.CaptureFixture[str]) -> None:
    await run(requests, client)
    assert capsys.readouterr().out == "Nobody asks to call pods of shop.\n"


async def test_a_strangers_words_do_nothing_to_a_terminal(
    client: ApiClient, capsys: pytest.CaptureFixture[str]
) -> None:
    await ask(client, reason="fine\x1b[2K\r\nweb/front ask to call nothing\u202e")
    await run(approve, client, "web/front")
    await run(requests, client)
    told = capsys.readouterr()
    for text in (told.out, told.err):
        assert all(each.isprintable() or each == "\n" for each in text)
    assert told.err.count("\n") == 2, "what is asked, and why"


async def test_pods_are_counted_for_who_decides(client: ApiClient, capsys: pytest.CaptureFixture[str]) -> None:
    await ask(client)
    await run(approve, client, "web/front")
    assert "of the pods app=orders of shop (none has these labels now) for 8h" in capsys.readouterr().err
