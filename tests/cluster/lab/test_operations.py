"""docs/operations.md: each bad day is made, the page's own commands are typed, and the remedy works.

`cart` reaches `orders` again when the last command of the section was typed, whatever the day did to it.
"""

import asyncio
import sys
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from cluster.conftest import NamespaceFactory
from cluster.kube.workloads import PORTS, Workloads
from cluster.lab import Lab
from cluster.mesh import TRUST_DOMAIN, authority_of, identity_of, policy, secret_name, until
from cluster.release import DEPLOYMENTS, Release
from cluster.rotations import roots, steer
from cluster.stragglers import paused
from handfast_operator.authority.storage import BUNDLE_CONFIG_MAP, AuthorityStorage
from handfast_operator.cluster.access import read_kubeconfig
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import CONFIG_MAPS, SECRETS
from support.typist import Typist, section

pytestmark = pytest.mark.timeout(300)
PAGE: Final = Path(__file__).parents[3] / "docs" / "operations.md"
NOT_TYPED: Final = {"A node's clock is wrong", "Smaller ones"}
"""Sections that say themselves why."""
ROOT_LIFE: Final = timedelta(days=90)
LEFT: Final = timedelta(seconds=20)
"""Of a root that is about to expire: longer than the lab's node takes to bring it."""


@dataclass(frozen=True)
class Shop:
    """The namespace of the page: `orders`, and `cart` that asks it; the pod `ledger-0`, under a name of its own."""

    lab: Lab
    handfast: Release
    namespace: str
    ledger: str

    @property
    def names(self) -> dict[str, str]:
        """As the page is to be read."""
        return {"shop": self.namespace, "ledger-0": self.ledger}

    def reaches(self, client: str = "deployment/cart") -> bool:
        words = ("load", f"http://orders:{PORTS['http']}/", "--requests=1", "--close", "--timeout=5")
        return bool(self.lab.client(client, self.namespace, *words)["failed"] == 0)


@pytest.fixture(scope="module")
def shop(cluster: Lab, handfast: Release, workloads: Workloads, module_namespace: NamespaceFactory) -> Iterator[Shop]:
    here = module_namespace("shop", inject=True)
    found = Shop(cluster, handfast, here, f"ledger-{uuid.uuid4().hex[:6]}")
    for account in ("cart", "orders"):
        meta = {"name": account, "namespace": here}
        cluster.apply([{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}])
    cluster.apply_ready(
        workloads.service("orders", here, [PORTS["http"]]),
        workloads.deployment("orders", here, "http", serviceAccountName="orders"),
        workloads.deployment("cart", here, serviceAccountName="cart"),
    )
    until("cart reaches orders", found.reaches)
    yield found
    # etcd was restored: the controller's container is started again later and later.
    handfast.replace_pods()


@contextmanager
def gone(shop: Shop, *deployments: str) -> Iterator[None]:
    for name in deployments:
        shop.handfast.scale(name, 0)
    yield
    for name in deployments:
        shop.handfast.wait_available(name)


@contextmanager
def rolling_out_without_the_webhook(shop: Shop) -> Iterator[None]:
    with gone(shop, "handfast-webhook"):
        shop.lab("rollout", "restart", "deployment/cart", "-n", shop.namespace)
        yield


@contextmanager
def nobody_let_in(shop: Shop) -> Iterator[None]:
    shop.lab.apply([policy(shop.namespace, "nobody", mode="Strict", allow=[])])
    until("nobody is let in", lambda: not shop.reaches())
    yield
    assert shop.reaches(), "within the second that the page promises, and the time that its last command took"
    shop.lab.delete("mtlspolicy", "nobody", shop.namespace)


@contextmanager
def ledger(shop: Shop) -> Iterator[None]:
    shop.lab.apply_ready(shop.lab.workloads.pod(shop.ledger, shop.namespace, serviceAccountName="cart"))
    until("it is heard of", lambda: shop.reaches(shop.ledger))
    yield
    until("it works with its new key", lambda: shop.reaches(shop.ledger), 60)
    shop.lab.delete("pod", shop.ledger, shop.namespace)


@contextmanager
def waiting_rotation(shop: Shop) -> Iterator[None]:
    shop.lab.apply_ready(shop.lab.workloads.pod(shop.ledger, shop.namespace))
    with suppress(ProcessLookupError), paused(shop.ledger):  # the page deletes it
        steer(shop.lab, trigger=uuid.uuid4().hex[:6])
        until("it waits", lambda: roots(shop.lab).named == {f"{shop.namespace}/{shop.ledger}"}, 60)
        yield


@contextmanager
def restored(shop: Shop) -> Iterator[None]:
    shop.lab.save("before")
    closed = policy(shop.namespace, "closed", deny=[{"from": [{"serviceAccount": "cart"}]}])
    shop.lab.apply([closed])
    until("it is closed", lambda: not shop.reaches())
    shop.lab.restore("before")
    yield
    until("what was applied again holds again", lambda: not shop.reaches())
    shop.lab.delete("mtlspolicy", "closed", shop.namespace)


@contextmanager
def expired(shop: Shop) -> Iterator[None]:
    """The controller is away, and the only root that anybody knows ends: nothing connects."""
    with gone(shop, "handfast-controller"):
        ends = datetime.now(UTC) + LEFT
        asyncio.run(_give_root_that_ends(shop, ends))
        until("nothing connects", lambda: datetime.now(UTC) > ends and not shop.reaches(), 60)
        yield


async def _give_root_that_ends(shop: Shop, ends: datetime) -> None:
    """To the operator's namespace, as it was made 90 days ago; to the pods of the shop, with a leaf of it."""
    lab, home = shop.lab, shop.handfast.namespace
    async with ApiClient.connect(read_kubeconfig(lab.kubeconfig)) as client:
        for secret in lab.list("secrets", home, selector="handfast.dev/authority"):
            await client.delete(SECRETS.item(home, secret["metadata"]["name"]))
        await client.delete(CONFIG_MAPS.item(home, BUNDLE_CONFIG_MAP))
        storage = AuthorityStorage(client, home, TRUST_DOMAIN, lambda _reason, _note: None)
        await storage.ensure(ends - ROOT_LIFE)
        root = authority_of(lab, home)
        for pod in lab.list("pods", shop.namespace):
            meta, account = pod["metadata"], pod["spec"]["serviceAccountName"]
            identity = identity_of(shop.namespace, account)
            leaf = root.issue(identity, pod_uid=meta["uid"], pod_name=meta["name"], ttl=ends - datetime.now(UTC))
            files = {"tls.crt": leaf.chain_pem, "tls.key": leaf.key_pem, "ca.crt": root.bundle_pem}
            data = {name: b64encode(content).decode() for name, content in files.items()}
            await client.patch(SECRETS.item(shop.namespace, secret_name(pod)), {"data": data})


DAYS: Final[dict[str, Callable[[Shop], AbstractContextManager[None]]]] = {
    "The control plane is gone": lambda shop: gone(shop, *DEPLOYMENTS),
    "No pod of a namespace starts": rolling_out_without_the_webhook,
    "A policy shuts a namespace": nobody_let_in,
    "A rotation does not end": waiting_rotation,
    "A key was stolen": ledger,
    "The root has expired": expired,
    "etcd was restored from a copy": restored,
}


@pytest.fixture(scope="module")
def typist(cluster: Lab, tmp_path_factory: pytest.TempPathFactory) -> Typist:
    programs = {
        "kubectl": [sys.executable, "-m", "handfast_lab.kubectl"],
        "handfast": [sys.executable, "-m", "handfast_operator.cli"],
    }
    return Typist(programs, cluster.kubeconfig, tmp_path_factory.mktemp("programs"))


def test_each_section_of_the_page_is_a_day_that_is_made_or_says_why_not() -> None:
    headings = [line.removeprefix("## ") for line in PAGE.read_text().splitlines() if line.startswith("## ")]
    assert set(headings) == DAYS.keys() | NOT_TYPED


@pytest.mark.parametrize("day", DAYS)
def test_the_remedy_of_the_page_works_as_it_is_typed(shop: Shop, typist: Typist, day: str) -> None:
    with DAYS[day](shop):
        typist.type_all(section(PAGE.read_text(), day), shop.names)
    until("cart reaches orders", shop.reaches, 60)
