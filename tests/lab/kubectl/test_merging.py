"""Three-way merges of client-side apply."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from handfast_lab.api.patching import merge_patch
from handfast_lab.kubectl.merging import merged, patch

Json = dict[str, Any]
OBJECTS = st.recursive(
    st.integers(0, 3) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
DICTIONARIES = st.dictionaries(st.sampled_from(["a", "b", "env"]), OBJECTS, max_size=3)


def test_what_is_no_longer_applied_goes_and_what_others_wrote_stays() -> None:
    live = {"a": 1, "b": 2, "theirs": 3}
    assert merged({"a": 1, "b": 2}, {"a": 5}, live, keyed=True) == {"a": 5, "theirs": 3}


def test_a_null_takes_a_field_away() -> None:
    assert merged({}, {"a": None}, {"a": 1, "b": 2}, keyed=True) == {"b": 2}


def test_items_of_a_built_in_list_are_merged_by_their_key() -> None:
    live = {"containers": [{"name": "app", "image": "a:1", "pull": "Always"}, {"name": "injected"}]}
    now = {"containers": [{"name": "app", "image": "a:2"}]}
    assert merged({"containers": [{"name": "app", "image": "a:1"}]}, now, live, keyed=True) == {
        "containers": [{"name": "app", "image": "a:2", "pull": "Always"}, {"name": "injected"}]
    }


def test_an_item_that_is_no_longer_applied_goes() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    assert merged({"env": env}, {"env": env[1:]}, {"env": [*env, {"name": "C"}]}, keyed=True) == {
        "env": [env[1], {"name": "C"}]
    }


def test_an_order_that_the_user_changed_is_changed() -> None:
    one, two = {"name": "one"}, {"name": "two"}
    live = {"initContainers": [{"name": "injected"}, one, two]}
    found = merged({}, {"initContainers": [two, one]}, live, keyed=True)
    assert found["initContainers"] == [two, one, {"name": "injected"}]


def test_one_port_over_two_protocols_stays_two() -> None:
    live = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    now = {"ports": [{"port": 53, "protocol": "UDP", "name": "dns"}, {"port": 53}]}
    assert len(merged(live, now, live, keyed=True)["ports"]) == 2


def test_lists_of_custom_resources_are_replaced() -> None:
    live = {"ports": [{"port": 80, "mode": "Strict"}, {"port": 81}]}
    assert merged({}, {"ports": [{"port": 80}]}, live, keyed=False) == {"ports": [{"port": 80}]}


def test_a_patch_says_what_differs_and_nothing_else() -> None:
    assert patch({"a": 1, "b": {"c": 1, "d": 2}, "e": 3}, {"a": 1, "b": {"c": 2, "d": 2}}) == {"b": {"c": 2}, "e": None}


@given(DICTIONARIES, DICTIONARIES)
def test_a_patch_makes_the_one_object_of_the_other(live: Json, wanted: Json) -> None:
    assert merge_patch(live, patch(live, wanted)) == wanted


@given(DICTIONARIES, DICTIONARIES)
def test_what_was_just_applied_needs_no_patch(now: Json, live: Json) -> None:
    applied = merged({}, now, live, keyed=False)
    assert patch(applied, merged(now, now, applied, keyed=False)) == {}
