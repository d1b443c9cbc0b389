"""`label`, `annotate`, `patch`, `scale`, `rollout`, `delete` and `wait`."""

import asyncio

import pytest

from handfast_lab.kubectl.refusals import Stop
from handfast_lab.kubectl.rollout import progress
from handfast_lab.kubectl.waiting import condition, has_condition
from lab.api.stage import Json, config_map, pod
from lab.kubectl.stage import Terminal

LABELS = {"app": "web"}
DEPLOYMENT: Json = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": {
        "metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "app", "image": "a"}]}}},
}  # fmt: skip


async def test_labels_are_set_changed_and_taken_away(kubectl: Terminal) -> None:
    await kubectl("apply -f -", config_map("one"))
    assert (await kubectl("label cm one a=b")).out == "configmap/one labeled\n"
    assert (await kubectl("label cm/one a=b")).out == "configmap/one not labeled\n"
    assert (await kubectl("label cm one a=c")).err == "error: 'a' already has a value (b), and --overwrite is false\n"
    assert (await kubectl("label cm one a=c --overwrite")).out == "configmap/one labeled\n"
    assert (await kubectl("label cm one a- z-")).out == 'label "z" not found.\nconfigmap/one unlabeled\n'
    assert (await kubectl("annotate cm one note=x")).out == "configmap/one annotated\n"


async def test_patches_of_each_kind_are_sent(kubectl: Terminal) -> None:
    await kubectl("apply -f -", config_map("one", a="b"))
    assert (await kubectl('patch cm one -p \'{"data":{"c":"d"}}\'')).out == "configmap/one patched\n"
    assert (await kubectl("patch cm one --type=merge -p 'data: {c: d}'")).out == "configmap/one patched (no change)\n"
    remove = '[{"op":"remove","path":"/data/a"}]'
    assert (await kubectl(f"patch cm one --type=json -p '{remove}'")).out == "configmap/one patched\n"
    assert (await kubectl("get cm one -o json")).json["data"] == {"c": "d"}


async def test_a_deployment_is_scaled_and_restarted(kubectl: Terminal) -> None:
    await kubectl("apply -f -", DEPLOYMENT)
    assert (await kubectl("scale deployment/web --replicas=3")).out == "deployment.apps/web scaled\n"
    assert (await kubectl("rollout restart deployment")).out == "deployment.apps/web restarted\n"
    found = (await kubectl("get deploy web -o json")).json["spec"]
    assert found["replicas"] == 3
    assert "kubectl.kubernetes.io/restartedAt" in found["template"]["metadata"]["annotations"]


async def test_a_rollout_is_followed_to_its_end(kubectl: Terminal) -> None:
    await kubectl("apply -f -", DEPLOYMENT)
    following = asyncio.create_task(kubectl("rollout status deploy/web --timeout=20s"))
    counts = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2}
    for available in (1, 2):
        found = kubectl.api.registry.get("deployments.apps", "default", "web")
        status = {"status": counts | {"availableReplicas": available}}
        await kubectl.api.registry.update(found | status, subresource="status")
    said = await following
    assert said.code == 0
    assert said.out.splitlines()[-1] == 'deployment "web" successfully rolled out'


async def test_a_rollout_that_takes_too_long_is_given_up(kubectl: Terminal) -> None:
    await kubectl("apply -f -", DEPLOYMENT)
    said = await kubectl("rollout status deploy/web --timeout=100ms")
    assert (said.code, said.err) == (1, "error: timed out waiting for the condition\n")


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({"observedGeneration": 1}, "Waiting for deployment spec update to be observed..."),
        ({"updatedReplicas": 1}, "1 out of 2 new replicas have been updated..."),
        ({"updatedReplicas": 2, "replicas": 3}, "1 old replicas are pending termination..."),
        ({"updatedReplicas": 2, "replicas": 2, "availableReplicas": 1}, "1 of 2 updated replicas are available..."),
    ],
)
def test_a_rollout_says_what_it_waits_for(status: Json, told: str) -> None:
    found = {"metadata": {"name": "web", "generation": 2}, "spec": {"replicas": 2}}
    said, done = progress(found | {"status": {"observedGeneration": 2} | status})
    assert said.endswith(told)
    assert not done


async def test_what_is_deleted_is_waited_for(kubectl: Terminal) -> None:
    held = config_map("one")
    held["metadata"]["finalizers"] = ["a.example/held"]
    await kubectl("apply -f -", held)
    deleting = asyncio.create_task(kubectl("delete cm one"))
    release = 'patch cm one --type=merge -p \'{"metadata":{"finalizers":null}}\''
    assert (
        await kubectl("wait cm/one --for=jsonpath={.metadata.deletionGracePeriodSeconds}=0 --timeout=10s")
    ).code == 0
    assert not deleting.done()
    await kubectl(release)
    assert (await deleting).out == 'configmap "one" deleted from default namespace\n'


async def test_deleting_what_is_not_there_is_refused_or_ignored(kubectl: Terminal) -> None:
    assert (await kubectl("delete cm one")).err == 'Error from server (NotFound): configmaps "one" not found\n'
    assert (await kubectl("delete cm one --ignore-not-found")).code == 0
    assert (await kubectl("delete cm")).err == "error: resource(s) were provided, but no name was specified\n"
    assert (await kubectl("delete pods --all")).out == "No resources found\n"
    assert 'error when deleting "STDIN": configmaps "one" not found' in (
        await kubectl("delete -f -", config_map("one"))
    ).err  # fmt: skip


async def test_force_is_told_and_warned_of(kubectl: Terminal) -> None:
    await kubectl("apply -f -", pod("web"))
    said = await kubectl("delete pod web --grace-period=0 --force")
    assert said.out == 'pod "web" force deleted from default namespace\n'
    assert said.err.startswith("Warning: Immediate deletion does not wait")
    assert "cannot be specified together" in (await kubectl("delete pod web --now --grace-period=3")).err


async def test_selected_objects_are_deleted(kubectl: Terminal) -> None:
    for name, labels in (("one", {"a": "b"}), ("two", {"a": "c"})):
        await kubectl("apply -f -", config_map(name, labels))
    assert (await kubectl("delete cm -l a=b")).out == 'configmap "one" deleted from default namespace\n'
    assert (await kubectl("get cm two")).code == 0


async def test_waiting_ends_when_it_is_created(kubectl: Terminal) -> None:
    waiting = asyncio.create_task(kubectl("wait cm/one --for=create --timeout=20s"))
    await kubectl("apply -f -", config_map("one"))
    assert (await waiting).out == "configmap/one condition met\n"


async def test_waiting_in_vain_is_told_by_the_plural(kubectl: Terminal) -> None:
    await kubectl("apply -f -", pod("web"))
    said = await kubectl("wait pod/web --for=condition=Ready --timeout=100ms")
    assert (said.code, said.err) == (1, "error: timed out waiting for the condition on pods/web\n")
    missing = await kubectl("wait pod/no --for=condition=Ready --timeout=100ms")
    assert missing.err == 'Error from server (NotFound): pods "no" not found\n'
    assert (await kubectl("wait pod/no --for=delete")).code == 0


def test_a_condition_counts_for_the_generation_that_it_has_seen() -> None:
    ready = {"type": "Ready", "status": "True", "observedGeneration": 1}
    assert has_condition({"metadata": {"generation": 1}, "status": {"conditions": [ready]}}, "ready", "true")
    assert not has_condition({"metadata": {"generation": 2}, "status": {"conditions": [ready]}}, "Ready", "True")


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("jsonpath={.spec.size}=3", True),
        ("jsonpath='{.spec.size}'=4", False),
        ("jsonpath={.spec.items[1].name}=b", True),
        (r"jsonpath={.metadata.labels.a\.b/c}=d", True),
        ("jsonpath={.spec.no}", False),
        ("jsonpath={.spec.ok}=true", True),
    ],
)
def test_a_field_is_waited_for_by_its_path(text: str, met: bool) -> None:
    spec = {"size": 3, "ok": True, "items": [{"name": "a"}, {"name": "b"}]}
    assert condition(text)({"metadata": {"labels": {"a.b/c": "d"}}, "spec": spec}) is met


@pytest.mark.parametrize("text", ["blah", "jsonpath={.a[?(@.b)]}=c", "jsonpath={.a}="])
def test_conditions_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(Stop):
        condition(text)
