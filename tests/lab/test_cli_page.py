"""docs/cli.md, run as it stands there: each transcript of the page is what a run prints.

`check` is typed where there is no Handfast yet, `status` in a mesh in which all is well, and all else when policies
refuse whom the page says. Certificates and a rotation are compared where they are looked at on both platforms.
"""

import ast
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from cluster import lab
from cluster.lab import Lab
from cluster.mesh import cluster_policy, policy, until
from support.transcript import Command, commands
from support.typist import Typist, section

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "cli.md").read_text()
CHECK, STATUS = (commands(section(PAGE, title)) for title in ("check", "status"))
ELSEWHERE: Final = {
    "handfast certs -n shop": "tests/cluster/behaviour/test_certs_cli.py",
    "handfast rotate": "tests/cluster/behaviour/test_certs_cli.py",
}
"""What another test compares with the page, by `page_says`."""
PROGRAMS: Final = {"handfast": [sys.executable, "-m", "handfast_operator.cli"]}
CLIENTS: Final = (("deployment/cart", "web"), ("client", "legacy"))
HOST: Final = "orders.shop"
MESHED: Final = {"handfast.dev/inject": "enabled"}


def test_a_command_that_is_not_typed_here_is_compared_with_the_page_by_the_test_that_is_named() -> None:
    shown = [command.words for command in commands(PAGE)]
    for words, test in ELSEWHERE.items():
        calls = [node for node in ast.walk(ast.parse((ROOT / test).read_text())) if isinstance(node, ast.Call)]
        compared = [ast.unparse(each.args[0]) for each in calls if ast.unparse(each.func) == "page_says"]
        assert (shown.count(words), compared.count(repr(words))) == (1, 1), words


@pytest.mark.timeout(400, method="signal")
def test_every_command_of_the_page_prints_what_the_page_says(tmp_path_factory: pytest.TempPathFactory) -> None:
    with lab.started() as cluster:
        folders = tmp_path_factory.mktemp("programs"), tmp_path_factory.mktemp("here")
        typist = Typist(PROGRAMS, cluster.kubeconfig, *folders)
        type_all(typist, CHECK)
        cluster.release().install()
        meet(cluster)
        type_all(typist, STATUS)
        refuse(cluster)
        type_all(typist, [each for each in commands(PAGE) if each not in (*CHECK, *STATUS)])


def type_all(typist: Typist, typed: Iterable[Command]) -> None:
    for command in typed:
        if command.words not in ELSEWHERE:
            typist.type(command)


def meet(cluster: Lab) -> None:
    """`orders` of the namespace shop is asked by `cart` of web, and by a client that has no sidecar."""
    for name, labels in {"shop": MESHED, "web": MESHED, "legacy": {}}.items():
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        cluster.wait("serviceaccount", "default", "create", name)
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "cart", "namespace": "web"}})
    workloads = cluster.workloads
    cluster.apply_ready(
        workloads.deployment("orders", "shop", "http", replicas=2),
        workloads.service("orders", "shop", [8080]),
        workloads.deployment("cart", "web", serviceAccountName="cart"),
        workloads.pod("client", "legacy"),
    )
    for client, namespace in CLIENTS:
        cluster.wait_reachable(client, namespace, HOST, 8080)


def refuse(cluster: Lab) -> None:
    """Policies that let neither of them in any more."""
    shopfront = {"from": [{"namespace": "web", "serviceAccount": "shopfront"}], "ports": [8080]}
    plain = {"port": 9090, "mode": "Permissive"}
    selector = {"matchLabels": {"app": "orders"}}
    cluster.apply(
        [
            cluster_policy("default", mode="Permissive", deny=[{"from": [{"namespace": "sandbox"}]}]),
            policy("shop", "strict", mode="Strict", certificate={"ttl": "1h"}),
            policy("shop", "orders", selector=selector, allow=[shopfront], ports=[plain]),
        ]
    )
    for client, namespace in CLIENTS:
        until(f"{client} is refused", partial(refused, cluster, client, namespace))


def refused(cluster: Lab, client: str, namespace: str) -> bool:
    report = cluster.client(client, namespace, "load", f"http://{HOST}:8080/", "--requests=1", "--close", "--timeout=5")
    return bool(report["failed"])
