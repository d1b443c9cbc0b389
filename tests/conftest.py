"""Where the cluster tests run: on the lab, which takes seconds, or on a real Kubernetes."""

import pytest


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
