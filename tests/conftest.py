"""Where the cluster tests run: on the lab, which takes seconds, or on a real Kubernetes."""

import signal
from pathlib import Path

import pytest
from hypothesis import settings

# A shell without job control has what it starts in the background ignore Ctrl-C (POSIX, 2.11 "Signals and Error
# Handling"), and whatever that starts: tests that interrupt a command would wait for its end in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long one example takes says more of the machine than of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


WAITING_ROOMS = ("cluster/", "lab/")
"""Tests that wait for pods, by the minute: they begin first, so that none of them is left alone at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files are handed to processes in this order (`--dist=loadfile --no-loadscope-reorder`)."""
    here = Path(__file__).parent
    items.sort(key=lambda item: not str(item.path.relative_to(here)).startswith(WAITING_ROOMS))


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the fixture `cluster` is."""
    parser.addoption(
        "--platform",
        choices=("lab", "kubernetes"),
        default="lab",
        help="where tests/cluster runs: the lab (default), or a real Kubernetes (HANDFAST_KUBECONFIG, else built here)",
    )
    parser.addoption(
        "--cluster-variant",
        default="nftables",
        help="of the real Kubernetes that is started: a name of cluster.kube.variant (nftables, dual-iptables)",
    )
    parser.addoption(
        "--slow",
        action="store_true",
        help="on a real Kubernetes, also what takes many minutes there because kubelet takes 100 s to bring a Secret",
    )
    parser.addoption(
        "--write", action="store_true", help="write the page of docs/ anew that a test compares with the cluster"
    )
