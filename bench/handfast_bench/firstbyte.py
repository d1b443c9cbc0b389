"""How long a brand-new connection takes to the first byte of its answer: through a pair, or with TLS of one's own."""

import json
import sys
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from handfast_bench.backend import SERVER_NAME, TLS_PORT
from handfast_bench.identities import Identities, write_files
from handfast_bench.namespaces import CLIENT, SERVER_IP, Namespaces
from handfast_bench.pair import Pair
from handfast_bench.sidecars import PODS

OWN_TLS: Final = {
    "tls13-full": "openssl",
    "tls13-resumed": "openssl",
    "tls12-full": "gnutls",
    "tls12-false-start": "gnutls",
}
"""The dialer's modes for an application with TLS of its own, and by which library."""


def through(spaces: Namespaces, pair: Pair, count: int) -> dict[str, float]:
    """`count` connections, one after the other."""
    return _dial(spaces, "plain", count, pair.host, str(pair.port))


def own_tls(spaces: Namespaces, folder: Path, identities: Identities, mode: str, count: int) -> dict[str, float]:
    """The same straight to the application's own TLS port, no proxy anywhere; with a client certificate in TLS 1.3."""
    identity = folder / "own-tls"
    pod = PODS[CLIENT]
    write_files(identity, identities.files(pod.spiffe_id, pod.name))
    return _dial(spaces, mode, count, SERVER_IP, str(TLS_PORT), str(identity), SERVER_NAME)


def _dial(spaces: Namespaces, mode: str, count: int, *words: str) -> dict[str, float]:
    output = spaces.run(CLIENT, [sys.executable, "-m", "handfast_bench.dialer", mode, str(count), *words])
    times = json.loads(output)
    return {"p50_us": median(times), "p99_us": quantiles(times, n=100)[-1]}
