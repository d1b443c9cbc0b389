"""The API in the process, as the lab's own parts use it."""

import pytest

from handfast_lab.api.problems import ApiProblem
from handfast_lab.api.registry import Registry
from lab.api.stage import NoWebhooks, config_map, pod, service


@pytest.fixture
def registry() -> Registry:
    return Registry(NoWebhooks(), root_certificate="PEM")


def test_a_namespace_knows_who_signed_the_api_servers_certificate(registry: Registry) -> None:
    assert registry.get("configmaps", "default", "kube-root-ca.crt")["data"] == {"ca.crt": "PEM"}


async def test_what_is_given_is_a_copy(registry: Registry) -> None:
    made = await registry.create(config_map("one", {"a": "b"}, x="1"))
    made["data"]["x"] = "2"
    [found] = registry.list("configmaps", labels={"a": "b"})
    found["data"]["x"] = "3"
    assert registry.get("configmaps", "default", "one")["data"] == {"x": "1"}


async def test_a_watch_misses_nothing_between_its_call_and_its_first_event(registry: Registry) -> None:
    watch = registry.watch("configmaps", "default", name="one")
    await registry.create(config_map("other"))
    await registry.create(config_map("one"))
    await registry.delete("configmaps", "default", "one")
    events = [await anext(watch) for _ in range(2)]
    assert [each.type for each in events] == ["ADDED", "DELETED"]


async def test_a_pod_gets_a_node_once(registry: Registry) -> None:
    await registry.create(pod("one"))
    placed = await registry.patch("pods", "default", "one", {"spec": {"nodeName": "lab"}})
    assert placed["spec"]["nodeName"] == "lab"
    with pytest.raises(ApiProblem, match="pod updates may not change"):
        await registry.patch("pods", "default", "one", {"spec": {"nodeName": "other"}})


async def test_services_get_addresses_of_their_own(registry: Registry) -> None:
    made = [(await registry.create(service(name)))["spec"]["clusterIP"] for name in ("a", "b")]
    assert made == ["10.96.0.16", "10.96.0.17"]
    await registry.delete("services", "default", "a")
    assert (await registry.create(service("c")))["spec"]["clusterIPs"] == ["10.96.0.16"]
    assert (await registry.create(service("d", clusterIP="None")))["spec"]["clusterIPs"] == ["None"]
    with pytest.raises(ApiProblem, match="provided IP is already allocated"):
        await registry.create(service("e", clusterIP="10.96.0.16"))


async def test_an_update_over_an_old_version_is_a_conflict(registry: Registry) -> None:
    old = await registry.create(config_map("one"))
    await registry.patch("configmaps", "default", "one", {"data": {"a": "1"}})
    with pytest.raises(ApiProblem) as refused:
        await registry.update(old)
    assert refused.value.code == 409


async def test_what_is_restored_is_what_was_saved_and_its_versions_are_given_again(registry: Registry) -> None:
    kept = await registry.create(config_map("kept", x="1"))
    await registry.create(config_map("deleted"))
    saved = registry.store.snapshot()
    watch = registry.watch("configmaps", "default")
    before = {(await anext(watch)).object["metadata"]["name"] for _ in range(3)}
    assert before == {"kube-root-ca.crt", "kept", "deleted"}
    later = await registry.patch("configmaps", "default", "kept", {"data": {"x": "2"}})
    await registry.delete("configmaps", "default", "deleted")
    await registry.create(config_map("made"))
    assert [(await anext(watch)).type for _ in range(3)] == ["MODIFIED", "DELETED", "ADDED"]
    registry.restore(saved)
    events = {(event.type, event.object["metadata"]["name"]) for event in [await anext(watch) for _ in range(3)]}
    assert events == {("DELETED", "made"), ("MODIFIED", "kept"), ("ADDED", "deleted")}
    assert registry.get("configmaps", "default", "kept") == kept
    again = await registry.patch("configmaps", "default", "kept", {"data": {"x": "3"}})
    assert again["metadata"]["resourceVersion"] == later["metadata"]["resourceVersion"]
    assert (await anext(watch)).object["data"] == {"x": "3"}
