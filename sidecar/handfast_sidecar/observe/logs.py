"""Logs are events with fields: one JSON object per record, one record per line.

The one rule: what is logged is named by a constant sentence, and everything that varies stands in `extra`, so that a
log can be searched by field and no record can forge another one.
"""

import json
import logging
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, TextIO

from handfast_sidecar.observe.line_writer import LineWriter

_RECORD_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""What every record has; the rest came in through `extra`."""
_encode: Final = json.JSONEncoder(separators=(",", ":"), default=str).encode
"""Made once: `json.dumps` with options makes an encoder for every call."""
LEVELS: Final = ("debug", "info", "warning", "error")


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; the fields of `extra` stand beside time, level, logger and message."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        # A field never replaces one of the four above: that would be a way to forge them.
        for name, value in vars(record).items():
            if name not in _RECORD_FIELDS:
                line.setdefault(name, value)
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = f"{record.exc_info[0].__name__}: {record.exc_info[1]}"
            line["trace"] = self.formatException(record.exc_info)
        return _encode(line)


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def timestamp(created: float) -> str:
    """RFC 3339, UTC, milliseconds; many records share a second."""
    seconds = int(created)
    return f"{_second(seconds)}.{int((created - seconds) * 1000):03d}Z"


class _LineHandler(logging.Handler):
    """Records into the process's one stream of lines."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            lines.write(self.format(record))
        except Exception:  # noqa: BLE001 - as every handler of the standard library: a log never ends the program
            self.handleError(record)


lines = LineWriter()
"""Everything that this process says; `configure` may name another stream."""


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Send every record of this process to standard error as JSON. An unknown level means "info", and says so."""
    lines.redirect(stream)
    handler = _LineHandler()
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    known = level.lower() in LEVELS
    root.setLevel(level.upper() if known else logging.INFO)
    logging.captureWarnings(capture=True)
    # Fields that nobody prints cost as much as the rest of a record (logging HOWTO, "Optimization").
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if hasattr(logging, "logAsyncioTasks"):
        logging.logAsyncioTasks = False
    if not known:
        logging.getLogger(__name__).warning(
            "unknown log level, using info", extra={"asked": level, "known": list(LEVELS)}
        )
