"""Connections in all their forms: with sidecars between them, two applications see what they see without."""

from pathlib import Path

import pytest

from forms.conftest import Ways
from forms.conversation import converse
from forms.table import FORMS, FULL_QUEUE, Form
from handfast_bench.namespaces import CLIENT

BEHAVIOUR = Path(__file__).parent.parent.parent / "docs" / "behaviour.md"
FAMILIES = pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])


@FAMILIES
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_both_applications_see_what_they_see_without_sidecars(ways: Ways, form: Form, family: int) -> None:
    without = converse(form, ways.direct, family)
    expected = form.through or without
    for way in ways.through:
        assert converse(form, way, family) == expected, way.name
    if form.differs:
        assert without != expected


@pytest.mark.parametrize("sentence", sorted({form.differs for form in FORMS} - {""} | {FULL_QUEUE}))
def test_what_differs_stands_in_the_documentation(sentence: str) -> None:
    rows = [line.split("|")[1].strip() for line in BEHAVIOUR.read_text().splitlines() if line.startswith("| ")]
    assert sentence in rows


def test_between_pods_a_conversation_goes_through_the_tunnel(ways: Ways) -> None:
    """Else nothing of the above would say anything about it."""
    opened = "handfast_connections_opened_total"
    for way, encrypted in ((ways.meshed, "true"), (ways.passed_on, "false")):
        before = ways.pair.scrape(CLIENT)
        converse(FORMS[0], way, 4)
        after = ways.pair.scrape(CLIENT)
        for each in ("true", "false"):
            grown = [at.total(opened, direction="out", encrypted=each) for at in (before, after)]
            assert grown[1] - grown[0] == (each == encrypted)
