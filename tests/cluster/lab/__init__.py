"""The lab as a cluster of the tests."""

from cluster.lab.provided import started

__all__ = ["started"]
