"""PostgreSQL and pgbench: a protocol that asks and answers, on connections that last, and on one per transaction."""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from applications.conftest import Meshed
from handfast_bench.namespaces import CLIENT, CLIENT_IP, SERVER, SERVER_IP

USER = "postgres"
AS_POSTGRES = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups")
CLIENTS = 8
TRANSACTIONS = 40
"""Of each client: so many that a lost one shows, and few enough for a machine that has other work."""


@pytest.fixture(scope="module")
def log(meshed: Meshed, program: Callable[[str], Path]) -> Iterator[Path]:
    """A server with pgbench's tables; where it complains."""
    # Not below pytest's own folder, which only root may enter.
    with tempfile.TemporaryDirectory(prefix="handfast-postgresql-") as name:
        folder, log = Path(name), Path(name) / "log"
        shutil.chown(folder, USER, USER)
        meshed.run(SERVER, *AS_POSTGRES, program("initdb"), "--no-sync", "--auth=trust", "-D", folder / "data")
        # Both pods: a server's sidecar connects to its application from the pod's own address.
        with (folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.writelines(f"host all all {address}/32 trust\n" for address in (CLIENT_IP, SERVER_IP))
        options: list[str | Path] = ["-c", "fsync=off", "-c", f"listen_addresses={SERVER_IP}", "-k", folder]
        server: list[str | Path] = [*AS_POSTGRES, program("postgres"), "-D", folder / "data", *options]
        with meshed.serving(server, [program("pg_isready"), "-h", SERVER_IP, "-U", USER], log):
            meshed.run(CLIENT, program("pgbench"), "-h", SERVER_IP, "-U", USER, "-i", "-q", USER)
            yield log


@pytest.mark.parametrize("how", [[], ["-C"]], ids=["connections that last", "a connection for each transaction"])
def test_pgbench_loses_no_transaction(
    meshed: Meshed, program: Callable[[str], Path], log: Path, how: list[str]
) -> None:
    load = ["-c", str(CLIENTS), "-t", str(TRANSACTIONS)]
    words: list[str | Path] = [program("pgbench"), "-h", SERVER_IP, "-U", USER, *load, *how, USER]
    with meshed.encrypted(at_least=CLIENTS * TRANSACTIONS if how else CLIENTS):
        said = meshed.run(CLIENT, *words)
    assert "number of failed transactions: 0 (" in said
    assert _number("number of transactions actually processed", said) == CLIENTS * TRANSACTIONS
    for complaint in ("error", "fatal", "aborted"):
        assert complaint not in said.lower()
    # Before it is ready it refuses those who ask whether it is.
    served = log.read_text().partition("ready to accept connections")[2]
    for complaint in ("unexpected EOF", "reset by peer", "could not send", "FATAL", "PANIC"):
        assert complaint not in served


def _number(name: str, said: str) -> int:
    found = re.search(rf"^{name}: (\d+)", said, re.MULTILINE)
    assert found is not None, said
    return int(found[1])
