"""Pods of one address family and of both: the same rules serve them all."""

import subprocess

import pytest

from handfast_sidecar.wellknown import ADMIN_PORT, INBOUND_PORT, MESH_PORT, OUTBOUND_PORT, PROXY_UID
from interception.test_netns import V4, V6, Pair, init, linked


def redirected(pair: Pair, addresses: dict[str, str]) -> None:
    """Both redirects hold for these addresses, and the proxy itself passes."""
    pod, peer = addresses["pod"], addresses["peer"]
    assert pair.dial("pod", peer, 8080) == f"{OUTBOUND_PORT} {peer} 8080"
    assert pair.dial("peer", pod, 8080) == f"{INBOUND_PORT} {pod} 8080"
    assert pair.dial("pod", peer, 8080, uid=PROXY_UID).startswith("8080 ")


@pytest.mark.parametrize("families", [[V4], [V6], [V4, V6]], ids=["IPv4 only", "IPv6 only", "dual stack"])
def test_a_pod_is_intercepted_in_each_family_it_has(families: list[dict[str, str]]) -> None:
    with linked(*families) as pair:
        assert init(pair).returncode == 0
        serve(pair)
        for addresses in families:
            redirected(pair, addresses)


def test_a_node_where_ipv6_is_switched_off_intercepts_ipv4() -> None:
    with linked(V4) as pair:
        for name in pair.names.values():
            switch = ["ip", "netns", "exec", name, "sysctl", "--quiet", "--write", "net.ipv6.conf.all.disable_ipv6=1"]
            subprocess.run(switch, check=True, timeout=10)
        assert init(pair).returncode == 0
        serve(pair)
        redirected(pair, V4)


def serve(pair: Pair) -> None:
    """The proxy's ports in the pod, and an application on each side."""
    pair.serve("pod", OUTBOUND_PORT, INBOUND_PORT, MESH_PORT, ADMIN_PORT, 8080)
    pair.serve("peer", 8080)
