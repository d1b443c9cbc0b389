"""Values against their schema. Each sentence was asked of the code of Kubernetes 1.36.3."""

from typing import Any

import pytest

from .conftest import Said

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
WHOLE: Json = {"type": "integer"}
TIME: Json = {"type": "string", "format": "date-time"}
KEYED: Json = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["k", "l"],
    "items": {"type": "object", "properties": {"k": TEXT, "l": TEXT, "n": {**WHOLE, "maximum": 1}}},
}


def mistyped(wanted: str, got: str) -> str:
    return f'spec.a: Invalid value: "{got}": spec.a in body must be of type {wanted}: "{got}"'


TYPES: list[tuple[Json, object, str]] = [
    (TEXT, 5, mistyped("string", "integer")),
    (TEXT, {}, mistyped("string", "object")),
    (TEXT, [1], mistyped("string", "array")),
    (WHOLE, "x", mistyped("integer", "string")),
    (WHOLE, 1.5, mistyped("integer", "number")),
    ({**WHOLE, "format": "int32"}, True, mistyped("int32", "")),
    ({**WHOLE, "format": "int32"}, 1.5, mistyped("int32", "float64")),
    ({"type": "boolean"}, 1, mistyped("boolean", "integer")),
    ({"x-kubernetes-int-or-string": True}, True, mistyped("integer,string", "boolean")),
    (TIME, 5, mistyped("date-time", "int64")),
    (TIME, "2020-13-01T00:00:00Z", mistyped("date-time", "2020-13-01T00:00:00Z")),
    (TIME, "2020-01-01T00:00:00", mistyped("date-time", "2020-01-01T00:00:00")),
]

LIMITS: list[tuple[Json, object, str]] = [
    ({**TEXT, "enum": ["x", 'y"']}, "z", r'spec.a: Unsupported value: "z": supported values: "x", "y\""'),
    ({**WHOLE, "enum": [1, 2]}, 3, 'spec.a: Unsupported value: 3: supported values: "1", "2"'),
    ({**TEXT, "minLength": 2}, "é", 'spec.a: Invalid value: "é": spec.a in body should be at least 2 chars long'),
    ({**TEXT, "maxLength": 1}, "éé", "spec.a: Too long: may not be more than 1 byte"),
    ({**TEXT, "pattern": r"^\d$"}, "1\n", r"""spec.a: Invalid value: "1\n": spec.a in body should match '^\d$'"""),
    ({**TEXT, "pattern": r"^\d$"}, "٣", r"""spec.a: Invalid value: "٣": spec.a in body should match '^\d$'"""),
    ({**WHOLE, "minimum": 2}, 1, "spec.a: Invalid value: 1: spec.a in body should be greater than or equal to 2"),
    (
        {**WHOLE, "maximum": 2, "exclusiveMaximum": True},
        2,
        "spec.a: Invalid value: 2: spec.a in body should be less than 2",
    ),
    (
        {"type": "number", "maximum": 1000000},
        1e22,
        "spec.a: Invalid value: 1e+22: spec.a in body should be less than or equal to 1e+06",
    ),
    (
        {**WHOLE, "format": "int32"},
        2**40,
        '<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.a',
    ),
    (
        {"type": "array", "items": WHOLE, "minItems": 1},
        [],
        "spec.a: Invalid value: 0: spec.a in body should have at least 1 items",
    ),
    ({"type": "array", "items": WHOLE, "maxItems": 1}, [1, 2], "spec.a: Too many: 2: must have at most 1 item"),
    (
        {"type": "object", "additionalProperties": TEXT, "minProperties": 1},
        {},
        "spec.a: Invalid value: 0: spec.a in body should have at least 1 properties",
    ),
    (
        {"type": "object", "additionalProperties": {**TEXT, "maxLength": 1}},
        {"x.y": "zz"},
        "spec.a.x.y: Too long: may not be more than 1 byte",
    ),
]


@pytest.mark.parametrize(("field", "value", "sentence"), TYPES)
def test_a_value_of_another_type_is_told_with_both_types(said: Said, field: Json, value: object, sentence: str) -> None:
    assert said(field, value)[0] == sentence


@pytest.mark.parametrize(("field", "value", "sentence"), LIMITS)
def test_a_value_beyond_a_limit_is_told_with_the_limit(said: Said, field: Json, value: object, sentence: str) -> None:
    assert said(field, value) == [sentence]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (WHOLE, 2.0),
        ({"type": "number"}, 2),
        ({**TEXT, "nullable": True}, None),
        (TIME, "2020-01-01t00:00:00.123456789+01:00"),
        ({"x-kubernetes-int-or-string": True}, "25%"),
        ({"type": "object", "additionalProperties": True}, {"x": {"y": 1}}),
        ({"x-kubernetes-preserve-unknown-fields": True}, [1, {"x": None}]),
    ],
)
def test_what_json_and_go_write_in_other_ways_passes(said: Said, field: Json, value: object) -> None:
    assert said(field, value) == []


def test_every_missing_field_is_required(said: Said) -> None:
    field = {"type": "object", "properties": {"b": TEXT}, "required": ["b", "c"]}
    assert said(field, {}) == ["spec.a.b: Required value", "spec.a.c: Required value"]


def test_a_set_tells_each_double_once(said: Said) -> None:
    field = {"type": "array", "x-kubernetes-list-type": "set", "items": TEXT}
    assert said(field, ["x", "y", "x", "x"]) == ['spec.a[2]: Duplicate value: "x"']


def test_entries_of_a_keyed_list_differ_in_their_keys(said: Said) -> None:
    value = [{"k": "<", "l": "y"}, {"l": "y", "k": "<", "n": 1}, {"k": "<"}, {"k": "<"}]
    assert said(KEYED, value) == [
        r'spec.a[1]: Duplicate value: {"k":"\u003c","l":"y"}',
        r'spec.a[3]: Duplicate value: {"k":"\u003c"}',
    ]


def test_an_update_is_held_only_to_what_it_changes(said: Said) -> None:
    old, fixed = {"k": "x", "l": "y", "n": 7}, {"k": "z", "l": "y", "n": 1}
    worse = "spec.a[0].n: Invalid value: 8: spec.a[0].n in body should be less than or equal to 1"
    assert said(KEYED, [fixed, old], [old]) == []
    assert said(KEYED, [{**old, "n": 8}], [old]) == [worse]


def test_doubles_that_were_there_before_are_left_alone(said: Said) -> None:
    twice = [{"k": "x", "l": "y"}] * 2
    assert said(KEYED, twice, twice) == []
    assert said(KEYED, twice, twice[:1]) == ['spec.a[1]: Duplicate value: {"k":"x","l":"y"}']
