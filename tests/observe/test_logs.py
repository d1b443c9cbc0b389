import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from handfast_sidecar.observe.logs import configure


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Standard error of a configured process; the test runner's own handlers come back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    names = ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks")
    switches = {name: getattr(logging, name) for name in names if hasattr(logging, name)}
    yield io.StringIO()
    for name, value in switches.items():
        setattr(logging, name, value)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_line_of_json_with_its_fields(stream: io.StringIO) -> None:
    configure("info", stream)
    logging.getLogger("a.b").info("leaf renewed", extra={"pod": "cart-0", "count": 2, "path": object})
    (line,) = lines(stream)
    assert (line["level"], line["logger"], line["message"]) == ("info", "a.b", "leaf renewed")
    assert (line["pod"], line["count"], line["path"]) == ("cart-0", 2, "<class 'object'>")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


def test_nothing_in_a_field_can_forge_a_record(stream: io.StringIO) -> None:
    configure("info", stream)
    logging.getLogger("a").info("x", extra={"peer": 'evil\n{"level":"error"}', "level": "forged"})
    (line,) = lines(stream)
    assert line["level"] == "info"
    assert "\n" in line["peer"]


def test_an_exception_is_part_of_its_record(stream: io.StringIO) -> None:
    configure("info", stream)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("a").exception("it failed")
    (line,) = lines(stream)
    assert line["error"] == "ValueError: broken"
    assert "Traceback" in line["trace"]


def test_the_level_is_respected_and_an_unknown_one_is_named(stream: io.StringIO) -> None:
    configure("loud", stream)
    logging.getLogger("a").debug("not seen")
    (line,) = lines(stream)
    assert (line["message"], line["asked"]) == ("unknown log level, using info", "loud")
