"""Who may ask and who may answer is RBAC's decision: shown on the real API server, with two users.

`dev` has the role edit in the namespace that asks, `owner` the role admin in the one that is asked: Kubernetes' own
roles, to which the chart's are added by aggregation.
"""

from dataclasses import dataclass

import pytest

from cluster.answering import access_grant, access_request, run_verb
from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.errors import ClusterError
from cluster.kube.manifests import to_text
from cluster.kube.workloads import Workloads
from cluster.mesh import policy, until
from handfast_operator.cli import approve
from handfast_operator.cli.errors import CliError

pytestmark = pytest.mark.usefixtures("handfast")


@dataclass(frozen=True)
class Scene:
    shop: str
    web: str
    dev: str
    """User, for `--as`."""
    owner: str
    dev_token: str
    owner_token: str


@pytest.fixture
def scene(cluster: Cluster, workloads: Workloads, namespace: NamespaceFactory) -> Scene:
    shop, web = namespace("shop", inject=True), namespace("web", inject=True)
    for user, where, role in (("dev", web, "edit"), ("owner", shop, "admin")):
        cluster("create", "serviceaccount", user, "-n", where)
        words = (f"--clusterrole={role}", f"--serviceaccount={where}:{user}")
        cluster("create", "rolebinding", user, "-n", where, *words)
    cluster.apply([policy(shop, "closed", allow=[])])
    cluster.apply_ready(*workloads.server("orders", shop, "http"), workloads.pod("client", web))
    return Scene(
        shop,
        web,
        f"--as=system:serviceaccount:{web}:dev",
        f"--as=system:serviceaccount:{shop}:owner",
        cluster("create", "token", "dev", "-n", web).strip(),
        cluster("create", "token", "owner", "-n", shop).strip(),
    )


def _served(cluster: Cluster, scene: Scene) -> bool:
    target = f"http://orders.{scene.shop}:8080/"
    return bool(cluster.client("client", scene.web, "load", target, "--requests=1", "--close")["failed"] == 0)


def test_one_may_ask_and_not_answer_and_the_other_may_answer(cluster: Cluster, scene: Scene) -> None:
    cluster.apply([access_request(scene.web, "orders", scene.shop)], scene.dev)
    with pytest.raises(CliError, match=f"you may not create AccessGrants in {scene.shop}"):
        run_verb(cluster, approve, scene.shop, f"{scene.web}/orders", token=scene.dev_token)
    for where in (scene.shop, scene.web):
        grant = access_grant(where, "mine", scene.web, "2099-01-01T00:00:00Z")
        with pytest.raises(ClusterError, match=r'cannot (get|create) resource "access(requests|grants)"'):
            cluster("create", "-f", "-", scene.dev, stdin=to_text(grant))
    assert not _served(cluster, scene)

    with pytest.raises(CliError, match="bind the ClusterRole handfast-request-reader"):
        run_verb(cluster, approve, scene.shop, f"{scene.web}/orders", token=scene.owner_token)
    words = ("--clusterrole=handfast-request-reader", f"--serviceaccount={scene.shop}:owner")
    cluster("create", "rolebinding", "asked", "-n", scene.web, *words)
    assert run_verb(cluster, approve, scene.shop, f"{scene.web}/orders", token=scene.owner_token) == 0
    until("the caller is let in", lambda: _served(cluster, scene))
    [grant] = cluster.list("accessgrants", scene.shop)
    assert grant["spec"]["answeredBy"] == f"system:serviceaccount:{scene.shop}:owner"


def test_who_asks_may_forge_no_answer(cluster: Cluster, scene: Scene) -> None:
    cluster.apply([access_request(scene.web, "orders", scene.shop)], scene.dev)
    forged = '{"status":{"grant":"mine","conditions":[]}}'
    words = ("--subresource=status", "--type=merge", "-p", forged, scene.dev)
    with pytest.raises(ClusterError, match=r'cannot (get|patch) resource "accessrequests/status"'):
        cluster("patch", "accessrequest", "orders", "-n", scene.web, *words)
    with pytest.raises(ClusterError, match=r'cannot (get|create) resource "access(requests|grants)"'):
        cluster.apply([access_request(scene.shop, "orders", scene.shop)], scene.dev)


def test_an_owner_ends_what_he_granted_and_cannot_change_it(cluster: Cluster, scene: Scene) -> None:
    cluster.apply([access_grant(scene.shop, "own", scene.web, "2099-01-01T00:00:00Z")], scene.owner)
    until("the caller is let in", lambda: _served(cluster, scene))
    words = ("--type=merge", "-p", '{"spec":{"ports":null}}', scene.owner)
    with pytest.raises(ClusterError, match="a grant cannot be changed"):
        cluster("patch", "accessgrant", "own", "-n", scene.shop, *words)
    cluster("delete", "accessgrant", "own", "-n", scene.shop, scene.owner)
    until("it is taken back", lambda: not _served(cluster, scene))


def test_a_grant_of_ones_own_namespace_opens_no_other(cluster: Cluster, scene: Scene) -> None:
    """Who is admin of the web may grant there what he likes."""
    cluster.apply([access_grant(scene.web, "bold", scene.web, "2099-01-01T00:00:00Z")])
    cluster.wait("accessgrant", "bold", "condition=Active", scene.web)
    assert not _served(cluster, scene)
