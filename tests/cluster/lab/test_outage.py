"""The whole control plane is gone for half of a certificate's life, the API server with it, and comes back."""

import asyncio
import time
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest

from cluster.conftest import NamespaceFactory
from cluster.driving import EVERYBODY, Driving
from cluster.kube.workloads import Workloads
from cluster.lab import Lab
from cluster.mesh import authority_of, expiries_loaded, identity_of, leaf_of, policy, secret_name, secret_of, until
from cluster.release import DEPLOYMENTS, Release
from handfast_operator.authority.schedule import BACKDATE
from handfast_operator.cluster.access import read_kubeconfig
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import SECRETS

LIFE = timedelta(seconds=90)
"""Of the leaves that the controller finds when it comes back: no policy gives so short a one."""


@pytest.mark.timeout(300)
def test_nothing_fails_while_the_control_plane_is_gone_for_half_a_life_and_then_everything_renews(
    lab: Lab, handfast: Release, workloads: Workloads, namespace: NamespaceFactory
) -> None:
    here = namespace("load", inject=True)
    lab.apply([policy(here, "strict", mode="Strict")])
    load = Driving.begin(lab, workloads, here)
    replicas = {name: lab.get("deployment", name, handfast.namespace)["spec"]["replicas"] for name in DEPLOYMENTS}
    for name in DEPLOYMENTS:
        handfast.scale(name, 0)
    began = datetime.now(UTC)
    give_short_leaves(lab, handfast, here, began + LIFE)
    ends = (began + LIFE).timestamp()
    until("all have them", lambda: all(each <= ends for each in loaded(lab, here).values()))
    load.goes_on()
    with lab.without_api_server():
        time.sleep(max(0, (began + LIFE / 2 - datetime.now(UTC)).total_seconds()))
    load.goes_on()
    for name in DEPLOYMENTS:
        handfast.scale(name, replicas[name])
    back = datetime.now(UTC)
    until("all are renewed", lambda: all(each > ends for each in loaded(lab, here).values()), 90)
    issued = [leaf_of(secret_of(lab, name, here)).not_before + BACKDATE for name in EVERYBODY]
    assert max(issued) - back < timedelta(minutes=1)
    due = {secret_of(lab, name, here)["metadata"]["annotations"]["handfast.dev/renew-at"] for name in EVERYBODY}
    assert len(due) == len(EVERYBODY), "the next time they are not due at once"
    load.goes_on()
    assert load.finish() > 100


def loaded(lab: Lab, namespace: str) -> dict[str, float]:
    """When the leaves of the load's sidecars expire."""
    found = expiries_loaded(lab, namespace)
    return {name: found[name] for name in EVERYBODY}


def give_short_leaves(lab: Lab, handfast: Release, namespace: str, ends: datetime) -> None:
    """To the pods of the load: what the controller would have issued some time ago, if any policy allowed it."""
    authority = authority_of(lab, handfast.namespace)
    pods = {each["metadata"]["name"]: each for each in lab.list("pods", namespace)}
    patches = {}
    for name in EVERYBODY:
        uid = pods[name]["metadata"]["uid"]
        leaf = authority.issue(identity_of(namespace), pod_uid=uid, pod_name=name, ttl=ends - datetime.now(UTC))
        files = {"tls.crt": leaf.chain_pem, "tls.key": leaf.key_pem}
        annotations = {
            "handfast.dev/serial": f"{leaf.certificate.serial_number:x}",
            "handfast.dev/not-after": _rfc3339(leaf.certificate.not_valid_after_utc),
            "handfast.dev/renew-at": _rfc3339(ends - LIFE / 2),
        }
        data = {file: b64encode(content).decode() for file, content in files.items()}
        path = SECRETS.item(namespace, secret_name(pods[name]))
        patches[path] = {"data": data, "metadata": {"annotations": annotations}}

    async def write() -> None:
        async with ApiClient.connect(read_kubeconfig(lab.kubeconfig)) as client:
            for path, patch in patches.items():
                await client.patch(path, patch)

    asyncio.run(write())


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
