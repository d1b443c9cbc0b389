"""Fixtures of what only the lab can show: an API server that is away, and one whose etcd was restored."""

import pytest

from cluster.cluster import Cluster
from cluster.lab import Lab


@pytest.fixture
def lab(cluster: Cluster) -> Lab:
    """The cluster, when it is the lab."""
    assert isinstance(cluster, Lab), "these tests are for --platform=lab alone"
    return cluster
