"""Defaults and unknown fields, and the schemas that the lab refuses to read."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handfast_lab.api.schema import CustomSchema
from handfast_lab.api.structural import UnsupportedSchema

from .conftest import Thing, ThingSchema, crd

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "default": 3}
SPEC: Json = {
    "type": "object",
    "properties": {
        "a": {**TEXT, "default": "d"},
        "b": {"type": "object", "properties": {"c": COUNT}, "default": {}},
        "n": {**TEXT, "nullable": True, "default": "z"},
        "l": {"type": "array", "items": {**TEXT, "default": "i"}},
        "m": {"type": "object", "additionalProperties": {"type": "object", "properties": {"c": COUNT}}},
        "p": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {"k": {"type": "object", "properties": {"z": TEXT}}},
        },
        "t": {"type": "object", "additionalProperties": True},
    },
}
SCHEMA = CustomSchema.of(crd(SPEC), "v1")

scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "x"])
names = st.sampled_from(["a", "b", "c", "k", "l", "m", "n", "p", "t", "z", "u.v", "metadata"])
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4))
things = st.dictionaries(st.sampled_from(["spec", "status", "metadata", "kind"]), values).map(
    lambda fields: {"apiVersion": "t.example/v1", **fields}
)


def test_defaults_are_filled_in_at_every_depth(thing: Thing) -> None:
    spec = {"l": ["x", None], "m": {"q": {}}}
    filled = {"a": "d", "b": {"c": 3}, "n": "z", "l": ["x", "i"], "m": {"q": {"c": 3}}}
    assert SCHEMA.default(thing(spec)) == thing(filled)


def test_null_is_a_default_where_null_is_a_value_and_nothing_elsewhere(thing: Thing) -> None:
    spec = {"a": None, "b": {"c": None}, "n": None, "m": {"q": None}, "t": {"x": None}, "p": None}
    assert SCHEMA.default(thing(spec)) == thing({"a": "d", "b": {"c": 3}, "n": None, "m": {}, "t": {"x": None}})


def test_unknown_fields_are_named_from_the_root_and_taken_out(thing: Thing) -> None:
    obj = {**thing({"b": {"c": 1, "d": 2}, "l": [{"e": 1}], "m": {"q.q": {"x": 1}}}), "spce": {}}
    assert SCHEMA.unknown_fields(obj) == ["spce", "spec.b.d", "spec.l[0].e", "spec.m.q.q.x"]
    assert SCHEMA.prune(obj) == thing({"b": {"c": 1}, "l": [{}], "m": {"q.q": {}}})


def test_a_place_that_preserves_unknown_fields_keeps_them_but_not_below_known_ones(thing: Thing) -> None:
    obj = thing({"p": {"q": {"r": 1}, "k": {"z": "1", "y": 2}}})
    assert SCHEMA.unknown_fields(obj) == ["spec.p.k.y"]
    assert SCHEMA.prune(obj) == thing({"p": {"q": {"r": 1}, "k": {"z": "1"}}})


def test_metadata_is_not_checked_here(thing: Thing) -> None:
    assert SCHEMA.unknown_fields({**thing({}), "metadata": {"nmae": "x"}}) == []


@given(things)
@settings(deadline=None)
def test_default_is_idempotent_and_leaves_its_argument_alone(obj: Json) -> None:
    before = copy.deepcopy(obj)
    once = SCHEMA.default(obj)
    assert SCHEMA.default(once) == once
    assert obj == before


@given(things)
@settings(deadline=None)
def test_nothing_unknown_is_left_after_pruning(obj: Json) -> None:
    before = copy.deepcopy(obj)
    pruned = SCHEMA.prune(obj)
    assert SCHEMA.unknown_fields(pruned) == []
    assert (pruned == obj) is (SCHEMA.unknown_fields(obj) == [])
    assert obj == before


@given(things, things)
@settings(deadline=None)
def test_any_json_has_an_answer_and_an_update_without_a_change_passes(obj: Json, old: Json) -> None:
    defaulted = SCHEMA.default(SCHEMA.prune({**obj, "metadata": {}}))
    assert all(": " in sentence for sentence in SCHEMA.problems(defaulted, old))
    assert [each for each in SCHEMA.problems(defaulted, defaulted) if each.startswith("spec")] == []


@pytest.mark.parametrize(
    "field",
    [
        {},
        {"type": "text"},
        {"type": "string", "format": "ipv4"},
        {"type": "string", "pattern": "("},
        {"type": "integer", "maximum": 1.5},
        {"type": "integer", "multipleOf": 2},
        {"type": "object", "properties": {}, "additionalProperties": True},
        {"type": "object", "additionalProperties": False},
        {"type": "object", "x-kubernetes-embedded-resource": True},
        {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "bag"},
        {"type": "string", "anyOf": [{"minLength": 1}]},
        {"type": "string", "format": "date-time", "x-kubernetes-validations": [{"rule": "true"}]},
    ],
    ids=str,
)
def test_a_schema_that_the_lab_cannot_check_is_refused(schema: ThingSchema, field: Json) -> None:
    with pytest.raises(UnsupportedSchema):
        schema({"type": "object", "properties": {"a": field}})


def test_a_version_that_the_crd_does_not_have_is_refused() -> None:
    with pytest.raises(UnsupportedSchema, match="v2"):
        CustomSchema.of(crd(SPEC), "v2")
