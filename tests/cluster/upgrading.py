"""An upgrade from the release before this one under load, and its rollback, wherever Handfast runs: 0 failed requests.

What is counted: every request of clients that stay, from the first to the last step. Each is on a connection of its
own, so that an endpoint is chosen anew each time while servers are replaced; `Driving` beside it has connections and
streams that stay, between pods that nobody restarts: under sidecars of the previous release the whole time.
"""

import json
import logging
import time
from contextlib import ExitStack
from functools import partial
from typing import Any, Protocol

from cluster.cluster import BackgroundClient, Cluster
from cluster.conftest import NamespaceFactory
from cluster.driving import Driving
from cluster.kube.manifests import Manifest
from cluster.kube.workloads import PORTS, Workloads
from cluster.mesh import policy, until
from handfast_sidecar.wellknown import PROXY_CONTAINER

log = logging.getLogger("figures")
DEPLOYMENTS = ("orders", "carts")
REPLICAS = 2


class Upgrade(Protocol):
    """How Handfast is installed and changed; each step returns when the version works."""

    sidecars: tuple[str, str]
    """Images of the previous sidecar and of ours."""

    def install_previous(self) -> None: ...

    def upgrade(self) -> None: ...

    def roll_back(self) -> None: ...


class Story:
    """Two Deployments whose pods are replaced one Deployment after the other, and who talks to them."""

    def __init__(self, cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory, upgrade: Upgrade) -> None:
        self._cluster, self._workloads, self._upgrade = cluster, workloads, upgrade
        self._previous, self._ours = upgrade.sidecars
        self._make_namespace = namespace
        self._round = 0
        self._loads: dict[str, BackgroundClient] = {}
        self.took: dict[str, float] = {}

    def run(self, *, streams: bool = True) -> dict[str, Any]:
        """All of it: what each load reports, by client and server; `streams`: with `Driving` beside it."""
        self._step("0.1.0 is installed", self._upgrade.install_previous)
        # Namespaces join after the installation: the webhook must be there.
        self.here, self.outside = self._make_namespace("shop", inject=True), self._make_namespace("outside")
        with ExitStack() as stack:
            self._step("workloads join", self._join)
            self._load(stack, "early", self._previous)
            driving = Driving.begin(self._cluster, self._workloads, self.here) if streams else None
            self._step("upgrade", self._upgrade.upgrade)
            self._step("sidecars of 0.1.0 obey our control plane", self._obeyed)
            self._step("orders is restarted", lambda: self._restart("orders", self._ours))
            self._load(stack, "late", self._ours)
            self._step("carts is restarted", lambda: self._restart("carts", self._ours))
            self._step("rollback", self._upgrade.roll_back)
            self._step("our sidecars obey the control plane of 0.1.0", self._obeyed)
            self._step("orders goes back", lambda: self._restart("orders", self._previous))
            self._step("carts goes back", lambda: self._restart("carts", self._previous))
            reports = {name: each.finish() for name, each in self._loads.items()}
            if driving is not None:
                driving.goes_on()
                reports["stays"] = {"failed": 0, "requests": driving.finish()}
        log.info("FIGURES upgrade: %s", json.dumps({"took_s": self.took, "loads": reports}))
        return reports

    def _step(self, name: str, step: Any) -> None:
        began = time.monotonic()
        step()
        self.took[name] = round(time.monotonic() - began, 1)
        log.info("%s after %.1f s", name, self.took[name])

    def _join(self) -> None:
        services = [self._workloads.service(name, self.here, [PORTS["http"]]) for name in DEPLOYMENTS]
        self._cluster.apply_ready(
            *services,
            *(self._deployment(name) for name in DEPLOYMENTS),
            self._workloads.pod("stranger", self.outside),
            policy(self.here, "strict", mode="Strict"),
        )
        self._restarted_to("orders", self._previous)

    def _load(self, stack: ExitStack, client: str, image: str) -> None:
        """A client that stays, and asks both Deployments for as long as the story goes on."""
        self._cluster.apply_ready(self._workloads.pod(client, self.here))
        assert _sidecar(self._cluster.get("pod", client, self.here)) == image
        for server in DEPLOYMENTS:
            self._cluster.wait_reachable(client, self.here, server, PORTS["http"])
            words = ("load", f"http://{server}:{PORTS['http']}/", "--connections=2", "--close", "--pause=0.1")
            load = self._cluster.client_in_background(client, self.here, *words, "--until-eof")
            self._loads[f"{client} to {server}"] = stack.enter_context(load)

    def _restart(self, name: str, image: str) -> None:
        """All its pods are replaced, as a rolling update does it."""
        self._round += 1
        self._cluster.apply_ready(self._deployment(name), timeout_s=120)
        self._restarted_to(name, image)

    def _restarted_to(self, name: str, image: str) -> None:
        pods = self._cluster.list("pods", self.here, selector=f"app={name}")
        living = [each for each in pods if "deletionTimestamp" not in each["metadata"]]
        assert [_sidecar(each) for each in living] == [image] * REPLICAS

    def _deployment(self, name: str) -> Manifest:
        made = self._workloads.deployment(
            name,
            self.here,
            "http",
            replicas=REPLICAS,
            annotations={"round": str(self._round)},
            probe=self._workloads.http_probe(),
        )
        # Who must not lose a request has pods serve on until everybody knows that they end, with a mesh and without.
        made["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = {"preStop": {"sleep": {"seconds": 3}}}
        return made

    def _obeyed(self) -> None:
        """A policy that changes is in force in every sidecar, whoever compiled it."""
        for mode, served in (("Permissive", True), ("Strict", False)):
            self._cluster.apply([policy(self.here, "strict", mode=mode)])
            for name in DEPLOYMENTS:
                until(f"{name} is {mode}", partial(self._answers, name, served), 60)

    def _answers(self, name: str, served: bool) -> bool:
        """Whether a pod without a sidecar has answers to all of a few requests, or to none."""
        words = ("load", f"http://{name}.{self.here}:{PORTS['http']}/", f"--requests={4 * REPLICAS}", "--close")
        report = self._cluster.client("stranger", self.outside, *words)
        return bool(report["failed"] == (0 if served else report["requests"]))


def _sidecar(pod: Manifest) -> str:
    """The image of its sidecar."""
    [found] = [each["image"] for each in pod["spec"]["initContainers"] if each["name"] == PROXY_CONTAINER]
    return str(found)
