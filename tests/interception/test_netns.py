"""The rules in a real kernel: two network namespaces, a link between them, real connections of both families.

`pod` has the rules and a proxy's two ports; `peer` is everybody else. Needs root, nftables and iproute2, which
`make test` installs; without them these tests fail, because interception that nobody tried is none.
"""

import logging
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from handfast_sidecar.interception.init import run_init
from handfast_sidecar.interception.rules import RulesOptions
from handfast_sidecar.wellknown import ADMIN_PORT, INBOUND_PORT, MESH_PORT, OUTBOUND_PORT, PROXY_UID

V4 = {"pod": "10.99.0.1", "peer": "10.99.0.2"}
V6 = {"pod": "fd99::1", "peer": "fd99::2"}
FAMILIES = pytest.mark.parametrize("addresses", [V4, V6], ids=["IPv4", "IPv6"])

SERVER = """
import selectors, socket, struct, sys
selector = selectors.DefaultSelector()
for port in map(int, sys.argv[1:]):
    sock = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    selector.register(sock, selectors.EVENT_READ, port)
print("ready", flush=True)

def original(sock, peer):
    try:
        if peer.startswith("::ffff:"):
            raw = sock.getsockopt(socket.IPPROTO_IP, 80, 16)
            return f"{socket.inet_ntoa(raw[4:8])} {struct.unpack_from('!H', raw, 2)[0]}"
        raw = sock.getsockopt(socket.IPPROTO_IPV6, 80, 28)
        return f"{socket.inet_ntop(socket.AF_INET6, raw[8:24])} {struct.unpack_from('!H', raw, 2)[0]}"
    except OSError:
        return "none 0"

while True:
    for key, _ in selector.select():
        connection, address = key.fileobj.accept()
        with connection:
            connection.sendall(f"{key.data} {original(connection, address[0])}".encode())
"""

CLIENT = """
import encodings.idna, os, socket, sys  # before the change of user, who may not read the interpreter's files
if int(sys.argv[3]):
    os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[3]))
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as sock:
        print(sock.makefile().read())
except ConnectionRefusedError:
    print("refused")
"""


@dataclass(frozen=True)
class Pair:
    """The two namespaces."""

    names: dict[str, str]
    servers: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(self, where: str, *command: str, text: str = "") -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", self.names[where], *command],
            input=text,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def dial(self, where: str, address: str, port: int, uid: int = 0) -> str:
        """What the server says: the port it accepted on, and the original destination."""
        return self.run(where, sys.executable, "-c", CLIENT, address, str(port), str(uid)).strip()

    def serve(self, where: str, *ports: int) -> None:
        """Servers on these ports, each of which says on which it accepted, and the original destination."""
        command = ["ip", "netns", "exec", self.names[where], sys.executable, "-c", SERVER, *map(str, ports)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.servers.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)


@contextmanager
def linked(*families: dict[str, str]) -> Iterator[Pair]:
    """Two namespaces with a link, whose ends have an address of each of these families; they end with the block."""
    missing = [tool for tool in ("ip", "nft", "setpriv") if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        pytest.fail(
            f"needs root and {', '.join(missing) or 'nothing else'}: run `make test` as root, which installs them"
        )
    mark = secrets.token_hex(3)
    names = {"pod": f"hf-pod-{mark}", "peer": f"hf-peer-{mark}"}
    pair = Pair(names)
    try:
        for name in names.values():
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", "eth0", "netns", names["pod"], "type", "veth", "peer", "name", "eth0", "netns", names["peer"])
        for where, name in names.items():
            for family in families:
                length, further = (64, ["nodad"]) if family is V6 else (24, [])
                ip("-n", name, "addr", "add", f"{family[where]}/{length}", "dev", "eth0", *further)
            ip("-n", name, "link", "set", "eth0", "up")
        yield pair
    finally:
        for server in pair.servers:
            server.kill()
            server.communicate()
        for name in names.values():
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with linked(V4, V6) as pair:
        for _ in range(2):
            assert init(pair).returncode == 0, "a restarted init container changes nothing"
        pair.serve("pod", OUTBOUND_PORT, INBOUND_PORT, MESH_PORT, ADMIN_PORT, 8080)
        pair.serve("peer", 8080)
        yield pair


INIT = """
import sys
from handfast_sidecar.interception.init import run_init
from handfast_sidecar.observe.logs import configure
configure()
sys.exit(run_init())
"""
WITHOUT_CAPABILITY = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")


def init(pair: Pair, *wrapper: str) -> subprocess.CompletedProcess[str]:
    """Run the verb in the pod's namespace."""
    sidecar = Path(__file__).resolve().parents[2] / "sidecar"
    return subprocess.run(
        ["ip", "netns", "exec", pair.names["pod"], *wrapper, sys.executable, "-c", INIT],
        env={**os.environ, "PYTHONPATH": str(sidecar)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@FAMILIES
def test_what_an_application_dials_reaches_the_proxy_with_its_destination(
    pair: Pair, addresses: dict[str, str]
) -> None:
    assert pair.dial("pod", addresses["peer"], 8080) == f"{OUTBOUND_PORT} {addresses['peer']} 8080"
    assert pair.dial("pod", addresses["peer"], 9999, uid=1000) == f"{OUTBOUND_PORT} {addresses['peer']} 9999"


@FAMILIES
def test_what_the_proxys_user_dials_goes_out_as_it_is(pair: Pair, addresses: dict[str, str]) -> None:
    assert pair.dial("pod", addresses["peer"], 8080, uid=PROXY_UID).startswith("8080 ")
    assert pair.dial("pod", addresses["peer"], 9999, uid=PROXY_UID) == "refused"


@FAMILIES
def test_what_reaches_the_pod_in_plaintext_reaches_the_proxy(pair: Pair, addresses: dict[str, str]) -> None:
    assert pair.dial("peer", addresses["pod"], 8080) == f"{INBOUND_PORT} {addresses['pod']} 8080"
    assert pair.dial("peer", addresses["pod"], 9999) == f"{INBOUND_PORT} {addresses['pod']} 9999"


@FAMILIES
@pytest.mark.parametrize("port", [MESH_PORT, ADMIN_PORT])
def test_tunnels_and_probes_reach_the_proxys_ports_directly(pair: Pair, addresses: dict[str, str], port: int) -> None:
    assert pair.dial("peer", addresses["pod"], port).startswith(f"{port} ")


@FAMILIES
@pytest.mark.parametrize("port", [OUTBOUND_PORT, INBOUND_PORT])
def test_the_redirects_own_ports_cannot_be_dialled_from_outside(
    pair: Pair, addresses: dict[str, str], port: int
) -> None:
    """They arrive as inbound plaintext whose destination is a reserved port, which the proxy refuses."""
    assert pair.dial("peer", addresses["pod"], port) == f"{INBOUND_PORT} {addresses['pod']} {port}"


@FAMILIES
def test_connections_within_the_pod_stay_in_the_pod(pair: Pair, addresses: dict[str, str]) -> None:
    assert pair.dial("pod", addresses["pod"], 8080).startswith("8080 ")
    loopback = "127.0.0.1" if addresses is V4 else "::1"
    assert pair.dial("pod", loopback, 8080).startswith("8080 ")


def test_applying_the_rules_again_leaves_one_copy(pair: Pair) -> None:
    assert init(pair).returncode == 0
    assert pair.run("pod", "nft", "list", "ruleset").count("redirect to") == 2


def test_other_tables_are_left_alone(pair: Pair) -> None:
    pair.run("pod", "nft", "-f", "-", text="add table inet somebody_elses\n")
    assert init(pair).returncode == 0
    assert "somebody_elses" in pair.run("pod", "nft", "list", "ruleset")


def test_a_container_without_the_capability_says_what_is_missing(pair: Pair) -> None:
    done = init(pair, *WITHOUT_CAPABILITY)
    assert done.returncode == 1
    assert "lacks the capability NET_ADMIN" in done.stderr


def test_an_image_without_nft_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert run_init(RulesOptions(), nft="/nonexistent/nft") == 1
    assert "is not installed in this image" in str(vars(caplog.records[0])["detail"])
