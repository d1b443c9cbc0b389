"""The lab as a cluster of the tests."""

from cluster.lab.provided import Lab, started

__all__ = ["Lab", "started"]
