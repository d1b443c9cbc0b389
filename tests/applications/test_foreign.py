"""curl, OpenSSL's s_client and a client in Go, from a pod without a sidecar; nginx and a Python server know who calls.

Debian 12's nginx reads the addresses of a PROXY header; the TLVs have variables from 1.23.2 on, so it is the Python
server that shows them.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from applications.conftest import STARTS_S, Meshed, pair_of_pods
from handfast_bench.identities import STRICT, TRUST_DOMAIN
from handfast_bench.namespaces import CLIENT, CLIENT_IP, CONTROL, CONTROL_IP, SERVER, SERVER_IP
from handfast_bench.sidecars import PODS
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import EffectivePolicy, ForeignRule
from handfast_sidecar.wellknown import ENV_PROXY_PROTOCOL_PORTS
from support import proxy_protocol
from support.go_program import built

HTTPS, LINES = 8443, 9000
OUTSIDE = SpiffeId.of_service_account(TRUST_DOMAIN, "outside", "legacy")
POLICY = EffectivePolicy(STRICT.default, {}, ForeignRule(frozenset({HTTPS, LINES})))
SSL_BITS = 7
CONFIGURATION = """
daemon off; worker_processes 1; user root; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen {address}:{port} proxy_protocol;
    location = / {{ default_type text/plain; return 200 "$proxy_protocol_addr $proxy_protocol_server_port\\n"; }}
  }}
}}
"""


@dataclass(frozen=True)
class Outside:
    """A place beside the mesh, with an SVID of the same trust domain."""

    meshed: Meshed
    certificate: Path
    key: Path
    roots: Path

    def try_run(self, *words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.meshed.spaces.command(CONTROL, words),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    def run(self, *words: str | Path, stdin: str = "") -> str:
        done = self.try_run(*words, stdin=stdin)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def denied(self, reason: str) -> int:
        return self.meshed.pair.metric(SERVER, "handfast_denied_total", direction="in", reason=reason)


@pytest.fixture(scope="module")
def meshed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meshed]:
    """A pair whose server tells its applications who calls, and is open to foreign clients."""
    ports = {ENV_PROXY_PROTOCOL_PORTS: f"{HTTPS},{LINES}"}
    with pair_of_pods(tmp_path_factory.mktemp("pair"), ports) as meshed:
        pair = meshed.pair
        pair.identities.write_pod(PODS[SERVER], pair.folder / SERVER, policy=POLICY, revision=2)
        deadline = time.monotonic() + STARTS_S
        while '"foreign"' not in pair.admin(SERVER, "/debug/policy", host="127.0.0.1"):
            assert time.monotonic() < deadline, "the new policy was not read"
            time.sleep(0.1)
        yield meshed


@pytest.fixture(scope="module")
def outside(meshed: Meshed, tmp_path_factory: pytest.TempPathFactory) -> Outside:
    folder = tmp_path_factory.mktemp("outside")
    for name, content in meshed.pair.identities.files(OUTSIDE, "legacy").items():
        (folder / name).write_bytes(content)
    meshed.run(CONTROL, "ip", "route", "add", SERVER_IP, "dev", f"to-{SERVER}", "src", CONTROL_IP)
    return Outside(meshed, folder / "tls.crt", folder / "tls.key", folder / "ca.crt")


@pytest.fixture(scope="module")
def nginx(meshed: Meshed, program: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "conf").write_text(CONFIGURATION.format(folder=folder, address=SERVER_IP, port=HTTPS))
    listens = ["bash", "-c", f": > /dev/tcp/{SERVER_IP}/{HTTPS}"]
    with meshed.serving([program("nginx"), "-c", folder / "conf", "-e", folder / "errors"], listens, folder / "log"):
        yield


@pytest.fixture(scope="module")
def reader(meshed: Meshed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    listens = ["bash", "-c", f": > /dev/tcp/{SERVER_IP}/{LINES}"]
    log = tmp_path_factory.mktemp("reader") / "log"
    with meshed.serving([sys.executable, proxy_protocol.__file__, SERVER_IP, str(LINES)], listens, log):
        yield


@pytest.mark.usefixtures("nginx")
def test_curl_is_served_and_nginx_knows_its_address(outside: Outside) -> None:
    said = outside.run(
        *("curl", "--silent", "--show-error", "--insecure", "--cert", outside.certificate, "--key", outside.key),
        f"https://{SERVER_IP}:{HTTPS}/",
    )
    assert said == f"{CONTROL_IP} {HTTPS}\n"


@pytest.mark.usefixtures("nginx")
def test_curl_without_a_certificate_is_refused_and_the_sidecar_says_why(outside: Outside) -> None:
    before = outside.denied("handshake_no_certificate")
    done = outside.try_run("curl", "--silent", "--show-error", "--insecure", f"https://{SERVER_IP}:{HTTPS}/")
    assert done.returncode
    assert outside.denied("handshake_no_certificate") == before + 1
    assert '"reason":"handshake_no_certificate"' in outside.meshed.pair.log(SERVER).read_text()


@pytest.mark.usefixtures("nginx")
def test_plain_http_from_outside_is_refused_under_strict(outside: Outside) -> None:
    before = outside.denied("plaintext_refused")
    assert outside.try_run("curl", "--silent", f"http://{SERVER_IP}:{HTTPS}/").returncode
    assert outside.denied("plaintext_refused") == before + 1


@pytest.mark.usefixtures("nginx")
def test_behind_a_tunnel_nginx_knows_the_clients_address_too(meshed: Meshed) -> None:
    said = meshed.run(CLIENT, "curl", "--silent", "--show-error", f"http://{SERVER_IP}:{HTTPS}/")
    assert said == f"{CLIENT_IP} {HTTPS}\n"


S_CLIENT = ("s_client", "-quiet", "-verify_return_error", "-connect", f"{SERVER_IP}:{LINES}")


@pytest.mark.usefixtures("reader")
def test_s_client_verifies_the_sidecar_and_the_application_knows_the_clients_identity(
    outside: Outside, program: Callable[[str], Path]
) -> None:
    pair = ("-cert", outside.certificate, "-key", outside.key, "-CAfile", outside.roots)
    told = json.loads(outside.run(program("openssl"), *S_CLIENT, *pair, stdin="hello\n"))
    assert (told["command"], told["source"], told["destination"]) == ("PROXY", CONTROL_IP, SERVER_IP)
    assert (told["client"], told["verify"], told["version"]) == (SSL_BITS, 0, "TLSv1.3")
    assert (told["cn"], told["said"]) == (str(OUTSIDE), "hello\n")


@pytest.mark.usefixtures("reader")
def test_s_client_with_tls_12_is_refused(outside: Outside, program: Callable[[str], Path]) -> None:
    before = outside.denied("handshake_tls_version")
    pair = ("-cert", outside.certificate, "-key", outside.key)
    assert outside.try_run(program("openssl"), *S_CLIENT, *pair, "-tls1_2", stdin="hello\n").returncode
    assert outside.denied("handshake_tls_version") == before + 1


@pytest.mark.usefixtures("reader")
def test_a_client_in_go_is_served_twice_and_resumes_nothing(outside: Outside) -> None:
    client = built(Path(__file__).parent / "goclient", "the client in Go cannot be built")
    said = outside.run(client, f"{SERVER_IP}:{LINES}", outside.certificate, outside.key, outside.roots, "hello")
    for line in said.splitlines():
        result = json.loads(line)
        assert (result["version"], result["resumed"], result["protocol"]) == ("TLS 1.3", False, "")
        assert result["server"] == str(PODS[SERVER].spiffe_id)
        told = json.loads(result["answer"])
        assert (told["cn"], told["said"]) == (str(OUTSIDE), "hello\n")
    assert len(said.splitlines()) == 2


@pytest.mark.usefixtures("reader")
def test_behind_a_tunnel_the_application_knows_the_clients_identity(meshed: Meshed) -> None:
    script = f"exec 3<>/dev/tcp/{SERVER_IP}/{LINES}; echo hello >&3; cat <&3"
    told = json.loads(meshed.run(CLIENT, "bash", "-c", script))
    assert (told["source"], told["cn"], told["version"]) == (CLIENT_IP, str(PODS[CLIENT].spiffe_id), "TLSv1.3")
    assert (told["client"], told["verify"], told["said"]) == (SSL_BITS, 0, "hello\n")
