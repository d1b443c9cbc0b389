"""docs/policy-errors.md says, word for word, what a cluster says to each policy that is wrong.

With `--write` the page is written anew from what is said (make policy-errors).
"""

from collections.abc import Iterator

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.kube.errors import ClusterError
from cluster.kube.workloads import Workloads
from cluster.mesh import until
from cluster.policy_errors import NAMESPACE, PAGE, REFUSAL, Case, cases, render, told_by_page
from cluster.release import Release

ENDED = "exit code 1\n"


def test_there_are_forty_cases_and_more_each_on_the_page_as_it_is() -> None:
    assert len({each.title for each in cases()}) == len(cases()) >= 40
    assert PAGE.read_text() == render(told_by_page()), "make policy-errors"


@pytest.fixture(scope="module")
def shop(cluster: Cluster, handfast: Release, workloads: Workloads, module_namespace: NamespaceFactory) -> str:
    """The namespace that the cases speak of."""
    here = module_namespace(NAMESPACE, inject=True)
    skips = {"handfast.dev/skip-inbound-ports": "8080"}
    cluster.apply_ready(
        workloads.pod("orders", here, "http"),
        workloads.pod("cart", here, "http"),
        workloads.pod("explicit", here, "http", annotations={"handfast.dev/interception": "none"}),
        workloads.pod("legacy", here, "http", annotations=skips),
        workloads.pod("bare", here, "http", labels={"handfast.dev/inject": "disabled"}),
    )
    return here


@pytest.fixture(scope="module")
def written(request: pytest.FixtureRequest) -> Iterator[dict[str, str] | None]:
    """What was said until now, where the page is to be written of it."""
    if not request.config.getoption("--write"):
        yield None
        return
    said: dict[str, str] = {}
    yield said
    if not request.session.testsfailed:
        PAGE.write_text(render(said))


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.title)
def test_the_page_says_what_the_cluster_says(
    cluster: Cluster, shop: str, written: dict[str, str] | None, case: Case
) -> None:
    said = (refusal if case.told == REFUSAL else condition)(cluster, shop, case).replace(shop, NAMESPACE)
    words = "\n".join(map(str.rstrip, said.splitlines()))
    if written is None:
        assert words == told_by_page()[case.title], "make policy-errors"
    else:
        written[case.title] = words


def refusal(cluster: Cluster, namespace: str, case: Case) -> str:
    """kubectl's last words."""
    with pytest.raises(ClusterError) as refused:
        cluster.apply([case.policy(namespace)])
    return str(refused.value).partition(ENDED)[2]


def condition(cluster: Cluster, namespace: str, case: Case) -> str:
    """The message of the condition, once it speaks of this policy."""
    policy, others = case.policy(namespace), case.others(namespace)
    applied = [*others, policy]
    try:
        for each in applied:
            cluster.apply([each])

        def said() -> str:
            status = cluster.get(policy["kind"], policy["metadata"]["name"], namespace).get("status") or {}
            found = {each["type"]: each for each in status.get("conditions") or ()}.get(case.told)
            good = "False" if case.told in ("Conflicted", "Doubtful", "Evaded") else "-"
            return str(found["message"]) if found is not None and found["status"] != good else ""

        return until(f"the condition {case.told}", said)
    finally:
        for each in reversed(applied):
            cluster.delete(each["kind"], each["metadata"]["name"], each["metadata"].get("namespace"))
