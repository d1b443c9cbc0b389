"""The patch between two documents."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from handfast_operator.admission.patch import difference
from support.json_patch import applied

_NAMES = st.sampled_from(["name", "a/b", "m~n", "x", ""])
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["v", "w"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=12,
)
_DOCUMENTS = st.dictionaries(_NAMES, _VALUES, max_size=4)


@given(_DOCUMENTS, _DOCUMENTS)
def test_the_patch_turns_the_one_into_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    patch = difference(before, after)
    assert repr_of(applied(patch, before)) == repr_of(after)
    assert difference(after, copy.deepcopy(after)) == []


def repr_of(value: Any) -> str:
    """Tells true from 1, which `==` does not."""
    if isinstance(value, dict):
        return repr(sorted((name, repr_of(each)) for name, each in value.items()))
    return repr([repr_of(each) for each in value]) if isinstance(value, list) else repr(value)


def test_a_new_container_costs_one_operation_and_leaves_the_others_alone() -> None:
    before = {"containers": [{"name": "app", "image": "1"}, {"name": "log"}]}
    after = {"containers": [{"name": "new"}, {"name": "app", "image": "2"}, {"name": "log"}]}
    assert difference(before, after) == [
        {"op": "replace", "path": "/containers/0/image", "value": "2"},
        {"op": "add", "path": "/containers/0", "value": {"name": "new"}},
    ]


def test_slashes_and_tildes_of_names_are_escaped() -> None:
    patch = difference({"labels": {}}, {"labels": {"a/b~c": "1"}})
    assert patch == [{"op": "add", "path": "/labels/a~1b~0c", "value": "1"}]


def test_a_list_that_is_null_is_replaced() -> None:
    assert difference({"volumes": None}, {"volumes": []}) == [{"op": "replace", "path": "/volumes", "value": []}]
