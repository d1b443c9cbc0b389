"""The picture: well-formed, made of what was measured, and of nothing else."""

from xml.etree import ElementTree as ET

from handfast_bench.picture import svg
from handfast_bench.results import Report
from support.bench_report import report

SVG = "{http://www.w3.org/2000/svg}"


def texts(picture: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(picture).iter(f"{SVG}text")]  # noqa: S314 - our own


def test_every_figure_is_there_as_text() -> None:
    found = texts(svg(report()))
    assert {"Requests/s, 32 connections", "handfast", "60,000", "CPU per request, 32 connections", "25.0"} <= set(found)


def test_what_was_not_measured_has_no_panel() -> None:
    assert "New connections/s" not in texts(svg(report()))


def test_no_proxy_is_no_bar() -> None:
    assert "direct" not in texts(svg(report()))


def test_a_machines_name_may_hold_any_character() -> None:
    assert any("Abacus <3>" in each for each in texts(svg(report())))


def test_an_empty_report_is_an_empty_picture() -> None:
    assert ET.fromstring(svg(Report({}, ()))).tag == f"{SVG}svg"  # noqa: S314 - our own


def test_ours_is_the_longest_bar_where_more_is_better() -> None:
    drawn = ET.fromstring(svg(report()))  # noqa: S314 - our own
    ours, *others = (
        [float(each.attrib["width"]) for each in drawn.iter(f"{SVG}rect") if each.get("class") == kind]
        for kind in ("ours", "bar")
    )
    assert max(ours) == max(ours + others[0])
