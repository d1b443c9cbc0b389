"""Patches, server-side apply, and who owns which field."""

from typing import Any

import pytest

from handfast_lab.api.patching import merge_patch, strategic_patch
from handfast_lab.api.problems import ApiProblem
from lab.api.stage import APPLY, CORE, JSON_PATCH, THINGS, Client, config_map, secret, thing

MAP = f"{CORE}/configmaps/one"
LIVE: dict[str, Any] = {
    "containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}],
    "volumes": [],
}


@pytest.mark.parametrize(
    ("patch", "result"),
    [
        ({"containers": [{"name": "b", "image": "2"}]}, [("a", "1"), ("b", "2")]),
        ({"containers": [{"name": "a", "$patch": "delete"}, {"name": "c"}]}, [("b", None), ("c", None)]),
        ({"containers": [{"$patch": "replace"}, {"name": "c"}]}, [("c", None)]),
        ({"containers": None}, []),
    ],
)
def test_a_strategic_patch_finds_items_by_their_name(
    patch: dict[str, Any], result: list[tuple[str, str | None]]
) -> None:
    changed = strategic_patch(LIVE, patch)
    assert [(each["name"], each.get("image")) for each in changed.get("containers", ())] == result
    assert LIVE["containers"][0]["image"] == "1"


def test_a_strategic_patch_reaches_into_items() -> None:
    changed = strategic_patch(LIVE, {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}]})
    assert [each["name"] for each in changed["containers"][0]["env"]] == ["X", "Y"]


def test_a_strategic_patch_drops_keys_that_are_not_retained() -> None:
    live = {"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}}
    assert strategic_patch(live, {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}) == {
        "strategy": {"type": "Recreate"}
    }


def test_an_item_without_its_key_is_refused() -> None:
    with pytest.raises(ApiProblem, match="does not contain declared merge key: name"):
        strategic_patch(LIVE, {"containers": [{"image": "2"}]})


def test_a_merge_patch_replaces_lists_and_removes_nulls() -> None:
    assert merge_patch({"a": [1], "b": {"c": 1}}, {"a": [2], "b": {"c": None}}) == {"a": [2], "b": {}}


async def test_a_json_patch_that_does_not_fit_is_refused(api: Client) -> None:
    await api.create(f"{CORE}/configmaps", config_map("one", a="1"))
    assert (await api.patch(MAP, [{"op": "replace", "path": "/data/a", "value": "2"}], JSON_PATCH)).body["data"][
        "a"
    ] == "2"
    assert (await api.patch(MAP, [{"op": "test", "path": "/data/a", "value": "3"}], JSON_PATCH)).status == 422
    assert (await api.patch(MAP, [{"op": "none"}], JSON_PATCH)).status == 400
    assert (await api.patch(MAP, {}, "text/plain")).status == 415


async def test_an_apply_makes_and_later_takes_away_what_it_no_longer_says(api: Client) -> None:
    made = await api.patch(MAP, config_map("one", a="1", b="2"), APPLY, fieldManager="me")
    assert made.status == 201
    await api.patch(MAP, {"data": {"c": "3"}}, fieldManager="you")
    again = await api.patch(MAP, config_map("one", a="1"), APPLY, fieldManager="me")
    assert (again.status, again.body["data"]) == (200, {"a": "1", "c": "3"})


async def test_an_apply_over_anothers_value_is_a_conflict_unless_forced(api: Client) -> None:
    await api.patch(MAP, config_map("one", a="1"), APPLY, fieldManager="me")
    other = config_map("one", a="2")
    refused = await api.patch(MAP, other, APPLY, fieldManager="you")
    assert (refused.status, refused.message) == (409, 'Apply failed with 1 conflict: conflict with "me": .data.a')
    assert refused.body["details"]["causes"][0] == {
        "reason": "FieldManagerConflict", "message": 'conflict with "me"', "field": ".data.a"}  # fmt: skip
    forced = (await api.patch(MAP, other, APPLY, fieldManager="you", force="true")).body
    assert forced["data"] == {"a": "2"}
    assert [each["manager"] for each in forced["metadata"]["managedFields"]] == ["you"]


async def test_an_apply_merges_items_by_their_keys(api: Client) -> None:
    path = f"{CORE}/services/one"
    service: dict[str, Any] = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "one"}}
    await api.patch(path, service | {"spec": {"ports": [{"name": "a", "port": 1}]}}, APPLY, fieldManager="me")
    await api.patch(path, service | {"spec": {"ports": [{"name": "b", "port": 2}]}}, APPLY, fieldManager="you")
    left = await api.patch(path, service | {"spec": {"ports": []}}, APPLY, fieldManager="me")
    assert [each["name"] for each in left.body["spec"]["ports"]] == ["b"]


async def test_applying_twice_changes_nothing(things: Client) -> None:
    first, second = [
        (await things.patch(f"{THINGS}/one", thing("one", size=2), APPLY, fieldManager="me")).body for _ in range(2)
    ]
    assert first == second


async def test_the_managers_of_a_secrets_keys_are_known(api: Client) -> None:
    await api.create(f"{CORE}/secrets", secret("s", data={"a": "YQ==", "b": "Yg=="}), fieldManager="operator")
    changed = await api.patch(f"{CORE}/secrets/s", {"data": {"a": "Yw=="}}, fieldManager="intruder")
    owned = {each["manager"]: each["fieldsV1"].get("f:data") for each in changed.body["metadata"]["managedFields"]}
    assert owned == {"operator": {"f:b": {}}, "intruder": {"f:a": {}}}
