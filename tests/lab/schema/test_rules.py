"""x-kubernetes-validations: what rules see, and what is said of one that is broken or fails."""

from typing import Any

import pytest

from handfast_lab.api.structural import UnsupportedSchema

from .conftest import Said, ThingSchema

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
WHOLE: Json = {"type": "integer"}


def ruled(field: Json, rule: str, **more: Any) -> Json:
    return {**field, "x-kubernetes-validations": [{"rule": rule, "message": "M", **more}]}


def record(**properties: Json) -> Json:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("size(self) == 1", "é"),
        ("duration(self) > duration('59m') && duration(self) < duration('61m')", "1h"),
        ("int(self) == 5", "5"),
        ("self.split(',').all(x, x in ['a', 'b']) && self.split(',').exists_one(x, x == 'a')", "a,b"),
        ("self.lowerAscii().replace('a', 'x').trim() == 'x'", " A "),
        ("self.matches('^[[:alpha:]]+$')", "abc"),
        ("cel.bind(x, self + self, x == 'aa')", "a"),
    ],
)
def test_functions_of_cel_mean_what_they_mean_to_the_server(said: Said, rule: str, value: str) -> None:
    assert said(ruled(TEXT, rule), value) == []


@pytest.mark.parametrize(
    ("field", "rule", "value", "why"),
    [
        (WHOLE, "1 / self == 1", 0, "division by zero"),
        (WHOLE, "9223372036854775807 + self > 0", 1, "integer overflow"),
        (WHOLE, "self > 1", 2.0, "invalid data, expected int, got float64"),
        (TEXT, "int(self) > 0", "x", "type conversion error from 'string' to 'int'"),
        (
            TEXT,
            "duration(self) > duration('1s')",
            "1d",
            "type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
        (record(x=TEXT), "self.x == 'y'", {}, "no such key: x"),
        ({"type": "array", "items": WHOLE}, "self[3] == 1", [1], "index out of bounds: 3"),
    ],
)
def test_a_rule_that_fails_makes_the_object_invalid(
    said: Said, field: Json, rule: str, value: object, why: str
) -> None:
    assert said(ruled(field, rule), value) == [f'spec.a: Invalid value: "{field["type"]}": {why} evaluating rule: M']


def test_a_rule_of_an_int_or_string_is_not_checked_before_it_runs(said: Said) -> None:
    words = "call arguments did not match a supported operator, function or macro signature for rule: M"
    either = ruled({"x-kubernetes-int-or-string": True}, "self > 5")
    assert said(either, "x") == [f"spec.a: Invalid value: \"\": 'no such overload': {words}"]


def test_a_rule_that_does_too_much_is_the_last_one(said: Said) -> None:
    slow = ruled({"type": "array", "items": ruled(WHOLE, "false")}, "self.all(x, self.all(y, self.all(z, true)))")
    [only] = said(slow, list(range(1, 150)))
    assert "no further validation rules will be run" in only


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({}, 'spec.a: Invalid value: "x": M'),
        ({"message": ""}, "spec.a: Invalid value: \"x\": failed rule: self == 'b'"),
        ({"messageExpression": "'not ' + self + ' '"}, 'spec.a: Invalid value: "x": not x'),
        ({"messageExpression": "string(int(self))"}, 'spec.a: Invalid value: "x": M'),
        ({"messageExpression": r"'two\nlines'"}, 'spec.a: Invalid value: "x": M'),
        ({"reason": "FieldValueForbidden"}, "spec.a: Forbidden: M"),
        ({"reason": "FieldValueRequired"}, "spec.a: Required value: M"),
        ({"reason": "FieldValueDuplicate"}, 'spec.a: Duplicate value: "x"'),
    ],
)
def test_a_broken_rule_is_told_as_it_asks(said: Said, more: Json, sentence: str) -> None:
    assert said(ruled(TEXT, "self == 'b'", **more), "x") == [sentence]


@pytest.mark.parametrize(
    ("field_path", "place"), [(".b", "spec.a.b"), (".b['x.y']", "spec.a.b.x.y"), ("['m'].q", "spec.a.m[q]")]
)
def test_a_rule_names_another_place(said: Said, field_path: str, place: str) -> None:
    fields = record(b=record(**{"x.y": TEXT}), m={"type": "object", "additionalProperties": TEXT})
    assert said(ruled(fields, "false", fieldPath=field_path), {}) == [f"{place}: Invalid value: M"]


def test_rules_are_evaluated_from_the_outside_in(said: Said) -> None:
    entries = {"type": "object", "additionalProperties": ruled(TEXT, "self == 'x'")}
    assert said(ruled(entries, "false"), {"k.k": "y"}) == [
        "spec.a: Invalid value: M",
        'spec.a[k.k]: Invalid value: "y": M',
    ]


def test_no_rule_is_evaluated_on_an_object_of_another_shape(said: Said) -> None:
    first, last = said(record(b=TEXT, c=ruled(TEXT, "false")), {"b": 5, "c": "x"})
    assert first.startswith("spec.a.b: Invalid value")
    assert last.startswith("<nil>: Invalid value: null: some validation rules were not checked")


def test_names_that_are_no_words_of_cel_are_written_with_an_escape(said: Said) -> None:
    fields = record(**{"a-b": TEXT, "in": TEXT, "x__y": TEXT, "3a": TEXT})
    rule = "self.a__dash__b == 'b' && self.__in__ == 'c' && self.x__underscores__y == 'd' && size(self) == 3"
    assert said(ruled(fields, rule), {"a-b": "b", "in": "c", "x__y": "d", "3a": "z"}) == []


def test_a_transition_rule_looks_at_updates_alone(said: Said) -> None:
    kept = ruled(TEXT, "self == oldSelf")
    assert said(kept, "x") == []
    assert said(kept, "x", "x") == []
    assert said(kept, "x", "y") == ['spec.a: Invalid value: "x": M']


def test_an_optional_old_self_is_asked_on_creation_too(said: Said) -> None:
    kept = ruled(TEXT, "oldSelf.orValue('first') == self", optionalOldSelf=True)
    assert said(kept, "first") == []
    assert said(kept, "second") == ['spec.a: Invalid value: "second": M']
    assert said(kept, "second", "second") == []


def test_entries_with_keys_are_compared_with_their_former_selves(said: Said) -> None:
    entry = record(k=TEXT, n=ruled(WHOLE, "self >= oldSelf"))
    keyed = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": entry}
    old = [{"k": "x", "n": 1}, {"k": "y", "n": 5}]
    assert said(keyed, [{"k": "y", "n": 4}, {"k": "new", "n": 0}], old) == ["spec.a[0].n: Invalid value: 4: M"]
    assert said({**keyed, "x-kubernetes-list-type": "atomic"}, [{"k": "x", "n": 0}], old) == []


def test_a_rule_that_was_broken_before_does_not_keep_an_update_from_another_field(said: Said) -> None:
    fields = record(b=ruled(TEXT, "self != 'bad'"), c=TEXT)
    assert said(fields, {"b": "bad", "c": "1"}, {"b": "bad"}) == []
    assert said(fields, {"b": "bad", "c": "1"}, {"b": "good"}) == ['spec.a.b: Invalid value: "bad": M']


@pytest.mark.parametrize(
    "rule",
    [
        {"rule": ""},
        {"rule": "self == "},
        {"rule": "self) || (true"},
        {"rule": "oldSelf.hasValue()) || (true", "optionalOldSelf": True},
        {"rule": "'text'"},
        {"rule": "unknown == self"},
        {"rule": "self.find('a') == 'a'"},
        {"rule": "true", "messageExpression": "1"},
        {"rule": "true", "fieldPath": ".b"},
        {"rule": "true", "reason": "Because"},
        {"rule": "true", "cost": 1},
    ],
    ids=str,
)
def test_a_rule_that_the_lab_cannot_evaluate_is_refused_with_the_crd(schema: ThingSchema, rule: Json) -> None:
    with pytest.raises(UnsupportedSchema):
        schema({**TEXT, "x-kubernetes-validations": [rule]})
