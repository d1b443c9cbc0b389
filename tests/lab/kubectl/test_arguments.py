"""The command line."""

import pytest

from handfast_lab.kubectl.arguments import parse
from handfast_lab.kubectl.refusals import Stop
from handfast_lab.kubectl.session import seconds


@pytest.mark.parametrize(
    "words",
    [
        ["get", "pods", "-n", "shop", "-o", "json"],
        ["-n", "shop", "get", "-ojson", "pods"],
        ["--namespace=shop", "get", "pods", "--output", "json"],
        ["get", "pods", "-n=shop", "-o=json", "--watch=false"],
    ],
)
def test_options_are_taken_in_every_form_and_place(words: list[str]) -> None:
    line = parse(words)
    assert (line.verb, line.words) == ("get", ("pods",))
    assert (line.one("namespace"), line.one("output")) == ("shop", "json")
    assert not line.flag("watch")


def test_what_follows_two_dashes_is_the_command_alone() -> None:
    line = parse(["exec", "-it", "web", "-c", "app", "--", "sh", "-c", "ls -l", "--", "-n"])
    assert line.command == ("sh", "-c", "ls -l", "--", "-n")
    assert line.flag("stdin")
    assert line.flag("tty")
    assert line.words == ("web",)


def test_an_option_without_a_value_does_not_take_the_next_word() -> None:
    assert parse(["get", "-A", "pods"]).words == ("pods",)


def test_an_option_may_come_more_than_once() -> None:
    assert parse(["create", "secret", "generic", "a", "--from-literal=a=b", "--from-literal", "c=d"]).all(
        "from-literal"
    ) == ("a=b", "c=d")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["get", "pods", "--sort-by=.x"], '"--sort-by" of "get"'),
        (["get", "pods", "-x"], '"-x" of "get"'),
        (["drain", "node1"], '"drain"'),
        (["--context=a", "get"], '"--context"'),
    ],
)
def test_what_is_not_known_is_named_with_the_way_out(words: list[str], named: str) -> None:
    with pytest.raises(Stop, match="install kubectl") as refused:
        parse(words)
    assert named in refused.value.message


def test_a_missing_value_and_a_wrong_one_are_refused() -> None:
    with pytest.raises(Stop, match="needs an argument: -o"):
        parse(["get", "pods", "-o"])
    with pytest.raises(Stop, match="true or false"):
        parse(["delete", "pod", "a", "--wait=no"]).flag("wait")
    with pytest.raises(Stop, match="whole number"):
        parse(["scale", "deploy/a", "--replicas=two"]).number("replicas")


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("1m30s", 90), ("500ms", 0.5), ("0", 0), ("1.5h", 5400)])
def test_durations_are_gos(text: str, expected: float) -> None:
    assert seconds(text) == expected


def test_what_is_no_duration_is_refused() -> None:
    with pytest.raises(Stop, match='"soon" is no duration'):
        seconds("soon")
