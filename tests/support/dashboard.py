"""The chart's Grafana dashboard, and its queries as Prometheus takes them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).parent.parent.parent / "charts" / "handfast" / "files" / "dashboard.json"
_VARIABLES: Final = {"$__rate_interval": "5m", "$__range": "1h", "$namespace": ".*"}
"""What Grafana would put there."""


def dashboard() -> dict[str, Any]:
    """As Grafana imports it."""
    return dict(json.loads(FILE.read_text()))


def panels() -> list[dict[str, Any]]:
    """Those that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries(*, rate: str = "5m") -> Iterator[tuple[str, str]]:
    """Title and expression of each query; `rate`: over how long rates are taken."""
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in (_VARIABLES | {"$__rate_interval": rate, "$__range": rate}).items():
                expression = expression.replace(name, value)
            yield panel["title"], expression
