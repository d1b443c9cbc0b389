"""What a page of the docs shows is compared with what is printed, word for word but for what it leaves open."""

import pytest

from support.transcript import commands, difference

PAGE = """\
# A page

```console
$ kubectl apply -f - <<EOF
kind: A
EOF
a created

$ kubectl get a
NAME   AGE
one    ...
```

```yaml
$ not a command
```

```console
$ true
```
"""


def test_commands_are_found_with_what_is_typed_into_them_and_what_they_print() -> None:
    first, second, third = commands(PAGE)
    assert (first.line, first.words, first.given) == (4, "kubectl apply -f -", "kind: A\n")
    assert first.expected == ("a created", "")
    assert (second.words, second.given, second.expected) == ("kubectl get a", "", ("NAME   AGE", "one    ..."))
    assert (third.words, third.expected) == ("true", ())


def test_a_block_that_begins_with_no_command_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="line 2"):
        commands("```console\nhello\n```\n")


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        (["one", "two"], "one\ntwo\n"),
        (["one ... three"], "one two three\n"),
        (["...", "three"], "one\ntwo\nthree\n"),
        (["one", "..."], "one\ntwo\nthree\n"),
        (["one", "..."], "one\n"),
        (["NAME AGE"], "NAME      AGE\n"),
        (["one", ""], "one\n"),
        (["pod shop/web-0d9ac12642-26xxb at 10.0.0.1"], "pod shop/web-53e1b4f787-wnnv7 at 10.0.0.22\n"),
        (["until 2026-01-02T03:04:05Z   7s"], "until 2027-01-02T03:04:05Z 61s\n"),
        (["a  b  80  yes  1  0  0.0/s  denied 1"], "a b 80 yes 12 3 4.5/s denied 7\n"),
        (["80 no 5 0 0.0/s plaintext_refused 2"], "80 no 4 0 0.2/s plaintext_refused 7\n"),
        (["a-20261122T042934Z.tar.gz: 51 files, 37 KiB"], "a-20261123T052934Z.tar.gz: 49 files, 36 KiB\n"),
        ([], ""),
    ],
)
def test_what_is_as_the_page_says(expected: list[str], printed: str) -> None:
    assert difference(expected, printed) == ""


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        (["one"], "two\n"),
        (["one"], "one\ntwo\n"),
        (["one", "two"], "one\n"),
        ([], "one\n"),
        (["o.e"], "one\n"),
        (["a 3"], "a 4\n"),
    ],
)
def test_what_is_not_as_the_page_says_is_shown_beside_it(expected: list[str], printed: str) -> None:
    assert "it printed:\n" + printed in difference(expected, printed)
