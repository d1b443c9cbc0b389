"""The API server is away for longer than the directory takes its own view for fresh: pods that never met still meet."""

import json
import time

import pytest

from cluster.conftest import NamespaceFactory
from cluster.faults import asking_later
from cluster.kube.workloads import Workloads
from cluster.lab import Lab
from cluster.mesh import policy, until
from handfast_operator.directory.server import STALE_S
from handfast_sidecar.directory.messages import ALIVE_EVERY_S

ASKS_S = int(STALE_S) + ALIVE_EVERY_S + 5
"""After this a directory that is stale has looked at each of its sidecars."""


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("handfast")
def test_pods_that_never_met_meet_while_the_api_server_is_away(
    lab: Lab, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace("outage", inject=True)
    lab.apply([policy(here, "strict", mode="Strict")])
    lab.apply_ready(*workloads.server("unmet", here, "http"), asking_later(workloads, "late", here, "unmet", ASKS_S))
    with lab.without_api_server():
        time.sleep(ASKS_S + 5)
    until("it has asked", lambda: lab.logs("late", here, container="app"), 60)
    assert json.loads(lab.logs("late", here, container="app").splitlines()[-1])["failed"] == 0
