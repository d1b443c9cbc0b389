"""What the lab installs, and what tests of the chart read, is what Helm makes of the chart."""

from pathlib import Path

import pytest

from cluster.cluster import Cluster
from cluster.lab.chart import KEPT, rendered


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_what_is_kept_is_the_charts(cluster: Cluster, path: Path) -> None:
    assert path.read_text() == rendered(*KEPT[path]), "the chart has changed: run `make lab-chart`"
