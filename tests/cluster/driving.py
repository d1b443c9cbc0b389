"""Load from several clients to several servers while something else happens, with every request accounted for.

Each client asks each server over connections that stay and over new ones, and has one long stream whose bytes are
checked. The clients are pods of their own, which need nobody outside to go on; nothing here is judged by its time.
"""

import re
from typing import Any, Self

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.workloads import PORTS, Workloads
from cluster.mesh import policy, until

Json = dict[str, Any]
CLIENTS, SERVERS = ("client-0", "client-1"), ("server-0", "server-1")
STREAMS = "streams"
EVERYBODY = (*CLIENTS, *SERVERS, STREAMS)
_ASK = b"GET /answered HTTP/1.1\r\nConnection: close\r\n\r\n".hex()


class Driving:
    """A load that runs."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self.namespace = namespace
        self._lost: dict[str, int] = {}
        """What may have failed, by client."""

    @classmethod
    def begin(cls, cluster: Cluster, workloads: Workloads, namespace: str) -> Self:
        """Make the pods of EVERYBODY; return when every kind of load has had answers."""
        # A busy machine is late for its own probes, and a server that is not Ready has no place in its Service.
        patient = {"timeoutSeconds": 10, "failureThreshold": 10}
        kinds = {**dict.fromkeys(SERVERS, "http"), STREAMS: "echo"}
        servers = [
            each
            for name, kind in kinds.items()
            for each in workloads.server(
                name, namespace, kind, probe=(workloads.tcp_probe(PORTS[kind]) or {}) | patient
            )
        ]
        cluster.apply_ready(*servers, workloads.pod("reaching", namespace))
        for name in SERVERS:
            cluster.wait_reachable("reaching", namespace, name, PORTS["http"])
        cluster.wait_reachable("reaching", namespace, STREAMS, PORTS["echo"])
        words = [f"--http={name}:{PORTS['http']}" for name in SERVERS] + [f"--stream={STREAMS}:{PORTS['echo']}"]
        cluster.apply_ready(*(workloads.pod(name, namespace, "drive", *words) for name in CLIENTS))
        load = cls(cluster, namespace)
        load.goes_on()
        return load

    @classmethod
    def begin_strict(cls, cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory) -> Self:
        """The same in a namespace of its own, under `Strict`."""
        here = namespace("load", inject=True)
        cluster.apply([policy(here, "strict", mode="Strict")])
        return cls.begin(cluster, workloads, here)

    def look(self) -> dict[str, Json]:
        """What each client says."""
        return {name: self._ask(name) for name in CLIENTS}

    def goes_on(self) -> None:
        """Until every connection, the streams included, has had answers since now. AssertionError: one failed."""
        before = self.look()

        def moved() -> bool:
            now = self.look()
            assert all(now[name]["failed"] == self._lost.get(name, 0) for name in CLIENTS), (now, self._lost)
            return all(_goes_on(before[name], now[name]) for name in CLIENTS)

        until("all loads go on", moved, 60)

    def forgive(self) -> int:
        """What has failed until now is not to be counted against anybody: how much."""
        self._lost = {name: each["failed"] for name, each in self.look().items()}
        return sum(self._lost.values())

    def finish(self) -> int:
        """End it: the number of requests, of which none failed and each was answered by the server it was meant for."""
        said = {name: self._ask(name, "--finish") for name in CLIENTS}
        assert not any(each["failed"] for each in said.values()), said
        for server in SERVERS:
            asked = sum(each["requests"][f"{server}:{PORTS['http']}"] for each in said.values())
            assert self._answered(server) == asked, (server, said)
        assert all(stream["bytes"] for each in said.values() for stream in each["streams"])
        return sum(sum(each["requests"].values()) for each in said.values())

    def _ask(self, client: str, *words: str) -> Json:
        return self._cluster.client(client, self.namespace, "driven", *words)

    def _answered(self, server: str) -> int:
        words = ("send", "127.0.0.1", str(PORTS["http"]), f"--hex={_ASK}", "--keep-open")
        answer = self._cluster.client(server, self.namespace, *words)["answer"]
        found = re.search(r"\r\n\r\n(\d+)\n", answer)
        assert found, answer
        return int(found[1])


def _goes_on(before: Json, now: Json) -> bool:
    """Whether the slowest load and the slowest stream of a client do."""
    return bool(
        now["slowest"] > before["slowest"]
        and min(each["bytes"] for each in now["streams"]) > min(each["bytes"] for each in before["streams"])
    )
