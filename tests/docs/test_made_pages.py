"""The pages that are made from the source are as the source is, and no link of any page leads nowhere."""

from pathlib import Path

import pytest

from handfast_sidecar import wellknown
from pages import reasons
from pages.links import broken, headings, outside
from pages.places import DOCS, ROOT
from pages.reading import module_at, modules, sentence, word
from pages.written import MADE, others, pages
from support.transcript import commands
from support.typist import section


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.name)
def test_a_page_is_as_its_source_is(path: Path) -> None:
    assert path.read_text() == MADE[path](), "make reference"


def test_no_link_leads_nowhere() -> None:
    assert list(map(str, broken(pages(), others()))) == []


def test_the_reference_by_hand_knows_each_port_label_and_annotation() -> None:
    by_hand = (ROOT / "docs" / "reference.md").read_text()
    for name, value in vars(wellknown).items():
        if name.endswith("_PORT") or name.startswith(("LABEL_", "ANNOTATION_")):
            assert str(value) in by_hand, name


def test_each_chapter_of_reasons_finds_words_and_the_words_of_refusals_are_among_them() -> None:
    found = {each.title: reasons.words(each) for each in reasons.CHAPTERS}
    assert all(found.values()), [title for title, words in found.items() if not words]
    assert {"plaintext_refused", "denied", "directory_unavailable", "limit_rate"} <= set(found["Connections"])
    assert any("label its namespace" in each for each in found["Connections"]["plaintext_refused"])
    assert {"expired", "untrusted", "wrong_trust_domain", "not_tls"} <= set(found["Handshakes and certificates"])
    assert "it is older than the label" in " ".join(found["Events"]["NotInjected"])


def test_a_word_is_read_where_it_stands_and_through_a_constant_and_never_guessed(tmp_path: Path) -> None:
    source = tmp_path / "one.py"
    source.write_text('A: Final = "here"\ncall(A, f"of {pod.name}: {1 + 1}")\ncall(computed(), "x")\n')
    module = module_at(source)
    module.words["A"] = "here"
    first, second = [each.value for each in module.tree.body[1:]]  # type: ignore[attr-defined]
    assert (word(module, first.args[0]), sentence(first.args[1])) == ("here", "of <name>: <...>")
    assert word(module, second.args[0]) is None


def test_modules_are_all_of_both_programs() -> None:
    assert {"handfast_sidecar.wellknown", "handfast_operator.settings"} <= {each.name for each in modules()}


PAGES = {
    "README.md": "# Top\n[a](docs/a.md#what-is-it)\n",
    "docs/a.md": "# A\n## What is `it`?\n[home](a.md)\n```\n# no heading\n[x](gone.md)\n```\n`[y](gone.md)`\n",
}


def test_headings_are_named_as_github_names_them() -> None:
    assert headings(PAGES["docs/a.md"]) == ["a", "what-is-it"]
    assert broken(PAGES, frozenset()) == []


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("gone.md", "no such file"),
        ("a.md#nowhere", "not one heading"),
        ("#nowhere", "not one heading"),
        ("../README.md", "cannot lead out of docs"),
        ("../../etc/passwd", "no such file"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(link: str, why: str) -> None:
    [found] = broken(PAGES | {"docs/b.md": f"# B\n[b]({link})\n"}, frozenset())
    assert (found.page, found.target) == ("docs/b.md", link)
    assert why in found.why


def test_addresses_outside_are_listed_and_made_up_ones_are_not() -> None:
    named = {"a.md": "see https://kubernetes.io/docs/ or http://orders:8080, http://10.0.0.1/ and https://x.example/"}
    assert outside(named) == {"https://kubernetes.io/docs/": ["a.md"]}


def test_the_readme_tells_to_type_what_the_guide_that_is_typed_tells() -> None:
    typed = {
        line for each in commands((DOCS / "install.md").read_text()) for line in (each.words, *each.given.splitlines())
    }
    told = section((ROOT / "README.md").read_text(), "Install")
    lines = [line.strip().removesuffix(" <<EOF") for line in told.splitlines() if line.startswith("    ")]
    assert len(lines) > 10
    assert set(lines) - {"EOF"} <= typed
