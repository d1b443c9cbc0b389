"""What is skipped, in a real kernel: the init container is told in its environment, as the webhook tells it."""

import sys
from pathlib import Path

import pytest

from handfast_sidecar.wellknown import INBOUND_PORT, OUTBOUND_PORT
from interception import test_netns
from interception.test_netns import FAMILIES, V4, V6, Pair

SIDECAR = Path(__file__).resolve().parents[2] / "sidecar"
NETWORKS = ("10.99.0.0/24", "fd99::/64")
BEYOND = "192.0.2.0/24,2001:db8::/32"

pair = test_netns.pair
"""A pod and a peer, which serves on port 8080 as the pod does."""


def init(pair: Pair, **variables: str) -> str:
    """Run the init container's program in the pod's namespace, with HANDFAST_SKIP_ before these variables' names."""
    told = [f"HANDFAST_SKIP_{name}={value}" for name, value in variables.items()]
    return pair.run("pod", "env", f"PYTHONPATH={SIDECAR}", *told, sys.executable, "-m", "handfast_sidecar", "init")


@FAMILIES
def test_a_skipped_outbound_port_goes_out_as_it_is_and_others_do_not(pair: Pair, addresses: dict[str, str]) -> None:
    init(pair, OUTBOUND_PORTS="5432,8000-8100,8090-8200")
    assert pair.dial("pod", addresses["peer"], 8080).startswith("8080 ")
    assert pair.dial("pod", addresses["peer"], 7999).startswith(f"{OUTBOUND_PORT} ")
    assert pair.dial("peer", addresses["pod"], 8080).startswith(f"{INBOUND_PORT} ")


@FAMILIES
@pytest.mark.parametrize("whole", [True, False], ids=["network", "address"])
def test_a_skipped_network_goes_out_as_it_is_and_others_do_not(
    pair: Pair, addresses: dict[str, str], whole: bool
) -> None:
    skipped = NETWORKS[addresses is V6] if whole else addresses["peer"]
    init(pair, OUTBOUND_CIDRS=f"{skipped},{addresses['peer']},{BEYOND}")
    assert pair.dial("pod", addresses["peer"], 8080).startswith("8080 ")
    assert pair.dial("pod", addresses["peer"], 9999) == "refused"
    other = V4 if addresses is V6 else V6
    assert pair.dial("pod", other["peer"], 8080).startswith(f"{OUTBOUND_PORT} ")


@FAMILIES
def test_everything_of_a_family_may_be_skipped(pair: Pair, addresses: dict[str, str]) -> None:
    init(pair, OUTBOUND_CIDRS="0.0.0.0/0,::/0")
    assert pair.dial("pod", addresses["peer"], 8080).startswith("8080 ")


@FAMILIES
def test_a_skipped_inbound_port_is_reached_directly_and_others_are_not(pair: Pair, addresses: dict[str, str]) -> None:
    init(pair, INBOUND_PORTS="8080")
    assert pair.dial("peer", addresses["pod"], 8080).startswith("8080 ")
    assert pair.dial("peer", addresses["pod"], 8081).startswith(f"{INBOUND_PORT} ")
    assert pair.dial("pod", addresses["peer"], 8080).startswith(f"{OUTBOUND_PORT} ")


@FAMILIES
def test_what_is_skipped_no_longer_is_redirected_again(pair: Pair, addresses: dict[str, str]) -> None:
    init(pair, INBOUND_PORTS="8080", OUTBOUND_PORTS="8080")
    init(pair)
    assert pair.dial("pod", addresses["peer"], 8080).startswith(f"{OUTBOUND_PORT} ")
    assert pair.dial("peer", addresses["pod"], 8080).startswith(f"{INBOUND_PORT} ")


def test_as_many_entries_as_are_taken_are_taken_by_nft_too(pair: Pair) -> None:
    networks = [f"10.{number}.0.0/16" for number in range(0, 64, 2)] + [f"fd{number:02x}::/16" for number in range(32)]
    ports = ",".join(f"{port}-{port + 1}" for port in range(2000, 2000 + 64 * 3, 3))
    init(pair, OUTBOUND_CIDRS=",".join(networks), OUTBOUND_PORTS=ports, INBOUND_PORTS=ports)
    assert pair.run("pod", "nft", "list", "ruleset").count("redirect to") == 2


def test_an_environment_that_cannot_be_read_keeps_the_pod_from_starting(pair: Pair) -> None:
    with pytest.raises(AssertionError, match="HANDFAST_SKIP_OUTBOUND_PORTS: 'x' is no port"):
        init(pair, OUTBOUND_PORTS="x")
