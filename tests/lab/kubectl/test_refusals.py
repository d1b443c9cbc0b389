"""What is printed when something is refused."""

from typing import Any

import pytest

from handfast_lab.kubectl.refusals import Refusal, Several, Stop, raise_if_any, refusal, words


def invalid(*causes: tuple[str, str]) -> Refusal:
    told: list[dict[str, Any]] = [{"field": field, "message": message} for field, message in causes]
    details = {"kind": "MTLSPolicy", "name": "bad", "causes": told}
    return Refusal({"reason": "Invalid", "message": "MTLSPolicy is invalid: all of it", "details": details})


def test_a_refusal_names_its_reason() -> None:
    assert words(Refusal({"reason": "NotFound", "message": "no"})) == "Error from server (NotFound): no"
    assert words(Refusal({"message": "no"})) == "Error from server: no"


def test_one_invalid_field_is_told_in_one_line() -> None:
    assert words(invalid(("spec.mode", "Required value"))) == (
        'The MTLSPolicy "bad" is invalid: spec.mode: Required value'
    )


def test_several_invalid_fields_are_a_list_without_repetition() -> None:
    found = words(invalid(("a", "Required value"), ("b", "Required value"), ("a", "Required value")))
    assert found == 'The MTLSPolicy "bad" is invalid: \n* a: Required value\n* b: Required value'


def test_the_servers_words_are_kept_where_no_field_is_named() -> None:
    assert words(invalid()) == "The request is invalid: MTLSPolicy is invalid: all of it"


def test_several_problems_are_told_in_a_line_each() -> None:
    with pytest.raises(Several) as raised:
        raise_if_any([invalid(("a", "Required value")).while_doing('error when creating "STDIN"'), Stop("error: no")])
    assert words(raised.value) == (
        'Error from server (Invalid): error when creating "STDIN": MTLSPolicy is invalid: all of it\nno'
    )


def test_an_answer_that_is_no_status_is_told_as_it_is() -> None:
    assert words(refusal(404, b"404 page not found")) == (
        "Error from server (NotFound): the server could not find the requested resource"
    )
    assert words(refusal(502, b"bad gateway\n")) == "Error from server: bad gateway"
