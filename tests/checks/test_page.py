"""docs/checks.md has an anchor for each check, and none for a check that is not there."""

import re
from pathlib import Path

from handfast_operator.checks.catalog import AFTER, BEFORE
from handfast_operator.checks.finding import PAGE

ROOT = Path(__file__).parents[2]


def test_every_check_has_its_anchor_and_the_other_way_round() -> None:
    page = (ROOT / PAGE).read_text()
    words = [each.word for each in AFTER] + [each.word for each in BEFORE]
    assert re.findall(r"^### (\S+)$", page, re.MULTILINE) == list(dict.fromkeys(words))


def test_each_says_symptom_cause_and_remedy() -> None:
    sections = re.split(r"^### ", (ROOT / PAGE).read_text(), flags=re.MULTILINE)[1:]
    for section in sections:
        for title in ("**Symptom.**", "**Cause.**", "**Remedy.**"):
            assert title in section, section.partition("\n")[0]
