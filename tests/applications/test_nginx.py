"""nginx and wrk: HTTP on connections that last, on one for each request, and a large download."""

import hashlib
import random
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from applications.conftest import Meshed
from handfast_bench.namespaces import CLIENT, SERVER_IP

URL = f"http://{SERVER_IP}:8080"
CONNECTIONS = 64
LARGE = 128 << 20
CONFIGURATION = """
daemon off; worker_processes 1; user root; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; keepalive_requests 100000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen {address}:8080 backlog=1024;
    root {folder};
    location = / {{ default_type text/plain; return 200 "hello\\n"; }}
  }}
}}
"""
DIGEST = """
import hashlib, sys, urllib.request
digest = hashlib.sha256()
with urllib.request.urlopen(sys.argv[1], timeout=30) as answer:
    while piece := answer.read(1 << 20):
        digest.update(piece)
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def folder(meshed: Meshed, program: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a running nginx serves, and where it complains."""
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "conf").write_text(CONFIGURATION.format(folder=folder, address=SERVER_IP))
    ready = [sys.executable, "-S", "-c", DIGEST, f"{URL}/"]
    with meshed.serving([program("nginx"), "-c", folder / "conf", "-e", folder / "errors"], ready, folder / "log"):
        yield folder


@pytest.mark.parametrize("how", [[], ["-H", "Connection: close"]], ids=["keep-alive", "a connection for each request"])
def test_wrk_gets_all_its_answers(meshed: Meshed, program: Callable[[str], Path], folder: Path, how: list[str]) -> None:
    with meshed.encrypted(at_least=2 * CONNECTIONS if how else CONNECTIONS):
        said = meshed.run(CLIENT, program("wrk"), "-t", "1", "-c", str(CONNECTIONS), "-d", "3", *how, f"{URL}/")
    found = re.search(r"(\d+) requests in ", said)
    assert found is not None, said
    assert int(found[1]) > 2 * CONNECTIONS
    assert "Socket errors" not in said
    assert "Non-2xx" not in said
    assert (folder / "errors").read_text() == ""


def test_a_large_download_arrives_as_it_was(meshed: Meshed, folder: Path) -> None:
    content = random.Random(1).randbytes(1 << 20)  # noqa: S311 - it only has to be dull to no compressor
    digest = hashlib.sha256()
    with (folder / "large").open("wb") as file:
        for number in range(LARGE >> 20):
            piece = number.to_bytes(8) + content[8:]
            file.write(piece)
            digest.update(piece)
    with meshed.encrypted(at_least=1):
        said = meshed.run(CLIENT, sys.executable, "-S", "-c", DIGEST, f"{URL}/large")
    assert said.strip() == digest.hexdigest()
