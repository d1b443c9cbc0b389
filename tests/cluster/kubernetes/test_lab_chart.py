"""What the lab installs is what Helm installs."""

from cluster.cluster import Cluster
from cluster.lab.chart import RENDERED, rendered


def test_the_labs_manifests_are_the_charts(cluster: Cluster) -> None:
    assert RENDERED.read_text() == rendered(), "the chart has changed: run `make lab-chart`"
