"""Rules of others in the pod's namespace: iptables in both of its kinds, before ours and after.

What holds is Linux's own order: of two tables with NAT at one hook, the one that was made last is asked first, and the
first that rewrites a connection decides.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from handfast_sidecar.wellknown import ADMIN_PORT, INBOUND_PORT, MESH_PORT, OUTBOUND_PORT, PROXY_UID
from interception.test_netns import FAMILIES, V4, V6, Pair, init, linked

THEIRS = """
*nat
:THEIR-CHAIN - [0:0]
-A PREROUTING -p tcp --dport 8081 -j REDIRECT --to-ports 8080
-A OUTPUT -p tcp --dport 7777 -j REDIRECT --to-ports 8080
-A OUTPUT -p udp --dport 53 -j REDIRECT --to-ports 5353
-A POSTROUTING -j THEIR-CHAIN
-A THEIR-CHAIN -o eth0 -p udp --dport 54 -j MASQUERADE
COMMIT
*filter
-A OUTPUT -o eth0 -p tcp --dport 9998 -j REJECT --reject-with tcp-reset
-A INPUT -m conntrack --ctstate INVALID -j DROP
COMMIT
"""
"""What a pod's namespace may have: a port forwarded as hostPort does, redirects of an application, a CNI's own chain in
POSTROUTING, and filters."""
ASK = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as sock:
    sock.settimeout(5)
    sock.connect((sys.argv[1], int(sys.argv[2])))
    sock.send(b"?")
    print(sock.recv(100).decode())
"""
ANSWER = """
import select, socket
sockets = [socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6)]
for sock, address in zip(sockets, ("127.0.0.1", "::1")):
    sock.bind((address, 5353))
print("ready", flush=True)
while True:
    for sock in select.select(sockets, [], [])[0]:
        sock.sendto(b"from 5353", sock.recvfrom(100)[1])
"""


@dataclass(frozen=True)
class Kind:
    """One of the two programs that Debian calls iptables."""

    name: str

    def restore(self, pair: Pair, rules: str) -> None:
        """Add rules, for both families."""
        for family in ("iptables", "ip6tables"):
            pair.run("pod", f"{family}-{self.name}-restore", "--noflush", text=rules)

    def saved(self, pair: Pair) -> list[str]:
        """The rules in the kernel, without counters and comments."""
        lines = [
            line
            for family in ("iptables", "ip6tables")
            for line in pair.run("pod", f"{family}-{self.name}-save").splitlines()
        ]
        return [line for line in lines if line.startswith("-A")]


KINDS = (Kind("legacy"), Kind("nft"))


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    if shutil.which(f"iptables-{found.name}-restore") is None:
        pytest.fail("iptables is missing: run `make test` as root, which installs it")
    return found


@contextmanager
def served() -> Iterator[Pair]:
    """A pod and its peer with what listens there, before any rule is written."""
    with linked(V4, V6) as pair:
        pair.serve("pod", OUTBOUND_PORT, INBOUND_PORT, MESH_PORT, ADMIN_PORT, 8080)
        pair.serve("peer", 8080, 7777, 9998)
        yield pair


@pytest.fixture(scope="module")
def earlier(kind: Kind) -> Iterator[Pair]:
    """Their rules were there when ours were written, twice."""
    with served() as pair:
        kind.restore(pair, THEIRS)
        before = kind.saved(pair)
        for _ in range(2):
            written = init(pair)
            assert written.returncode == 0, written.stderr
        assert kind.saved(pair) == before
        yield pair


@pytest.fixture
def later(kind: Kind) -> Iterator[Pair]:
    """Their rules were written after ours."""
    with served() as pair:
        assert init(pair).returncode == 0
        kind.restore(pair, THEIRS)
        yield pair


@FAMILIES
def test_ours_redirect_beside_rules_that_were_there_before(earlier: Pair, addresses: dict[str, str]) -> None:
    pod, peer = addresses["pod"], addresses["peer"]
    assert earlier.dial("pod", peer, 8080) == f"{OUTBOUND_PORT} {peer} 8080"
    assert earlier.dial("peer", pod, 8080) == f"{INBOUND_PORT} {pod} 8080"
    assert earlier.dial("peer", pod, MESH_PORT).startswith(f"{MESH_PORT} ")
    assert earlier.dial("pod", peer, 8080, uid=PROXY_UID).startswith("8080 ")
    assert earlier.dial("pod", pod, 8080).startswith("8080 ")


@FAMILIES
def test_of_two_redirects_of_one_connection_the_one_whose_table_is_newer_decides(
    earlier: Pair, later: Pair, addresses: dict[str, str]
) -> None:
    pod, peer = addresses["pod"], addresses["peer"]
    for dialled in (7777, 8080):
        assert earlier.dial("pod", peer, dialled) == f"{OUTBOUND_PORT} {peer} {dialled}"
    assert earlier.dial("peer", pod, 8081) == f"{INBOUND_PORT} {pod} 8081"
    assert later.dial("pod", peer, 7777) == f"8080 {peer} 7777"
    assert later.dial("peer", pod, 8081) == f"8080 {pod} 8081"
    assert later.dial("pod", peer, 8080) == f"{OUTBOUND_PORT} {peer} 8080"


@FAMILIES
def test_a_rule_that_joins_an_older_table_comes_after_ours(
    kind: Kind, earlier: Pair, addresses: dict[str, str]
) -> None:
    kind.restore(earlier, "*nat\n-I OUTPUT -p tcp --dport 7778 -j REDIRECT --to-ports 8080\nCOMMIT\n")
    assert earlier.dial("pod", addresses["peer"], 7778) == f"{OUTBOUND_PORT} {addresses['peer']} 7778"


@FAMILIES
def test_a_restarted_init_container_comes_first_again(kind: Kind, later: Pair, addresses: dict[str, str]) -> None:
    before = kind.saved(later)
    assert init(later).returncode == 0
    assert later.dial("pod", addresses["peer"], 7777) == f"{OUTBOUND_PORT} {addresses['peer']} 7777"
    assert kind.saved(later) == before


@FAMILIES
def test_what_we_leave_alone_is_still_theirs(earlier: Pair, addresses: dict[str, str]) -> None:
    """UDP, and what the proxy itself dials."""
    with answering_udp(earlier):
        assert earlier.run("pod", sys.executable, "-c", ASK, addresses["peer"], "53") == "from 5353\n"
    assert earlier.dial("pod", addresses["peer"], 7777, uid=PROXY_UID) == f"8080 {addresses['peer']} 7777"


@FAMILIES
def test_their_filters_see_the_proxys_connections(earlier: Pair, addresses: dict[str, str]) -> None:
    """An application's own is redirected before filters are asked, and has the proxy's port by then."""
    peer = addresses["peer"]
    assert earlier.dial("pod", peer, 9998) == f"{OUTBOUND_PORT} {peer} 9998"
    assert earlier.dial("pod", peer, 9998, uid=PROXY_UID) == "refused"


@FAMILIES
def test_a_firewall_in_the_pod_admits_the_proxys_port_instead_of_the_applications(
    kind: Kind, later: Pair, addresses: dict[str, str]
) -> None:
    closed = "-A INPUT -i eth0 -p tcp -m conntrack --ctstate NEW -j REJECT --reject-with tcp-reset"
    kind.restore(later, f"*filter\n-A INPUT -i eth0 -p tcp --dport 8080 -j ACCEPT\n{closed}\nCOMMIT\n")
    assert later.dial("peer", addresses["pod"], 8080) == "refused"
    kind.restore(later, f"*filter\n-I INPUT -i eth0 -p tcp --dport {INBOUND_PORT} -j ACCEPT\nCOMMIT\n")
    assert later.dial("peer", addresses["pod"], 8080) == f"{INBOUND_PORT} {addresses['pod']} 8080"


@contextmanager
def answering_udp(pair: Pair) -> Iterator[None]:
    """A resolver in the pod, on the port that their redirect leads to."""
    command = ["ip", "netns", "exec", pair.names["pod"], sys.executable, "-c", ANSWER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as resolver:
        assert resolver.stdout is not None
        try:
            assert resolver.stdout.readline() == "ready\n"
            yield
        finally:
            resolver.kill()
