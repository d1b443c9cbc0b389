"""Deleting, and what goes with it."""

from datetime import datetime

from lab.api.stage import CORE, STRATEGIC, Client, config_map, pod

MAPS = f"{CORE}/configmaps"


def owned(name: str, owner: dict[str, str]) -> dict[str, object]:
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["name"], "uid": owner["uid"]}
    return config_map(name) | {"metadata": {"name": name, "ownerReferences": [reference]}}


async def test_a_pod_on_a_node_is_marked_and_goes_without_grace(api: Client) -> None:
    await api.create(f"{CORE}/pods", pod("one", nodeName="lab", terminationGracePeriodSeconds=7))
    marked = (await api.delete(f"{CORE}/pods/one")).body["metadata"]
    assert marked["deletionGracePeriodSeconds"] == 7
    shorter = (await api.delete(f"{CORE}/pods/one", {"gracePeriodSeconds": 2})).body["metadata"]
    ends = [datetime.fromisoformat(each["deletionTimestamp"]) for each in (shorter, marked)]
    assert (shorter["deletionGracePeriodSeconds"], (ends[1] - ends[0]).seconds) == (2, 5)
    assert (await api.delete(f"{CORE}/pods/one", gracePeriodSeconds="0")).status == 200
    assert (await api.get(f"{CORE}/pods/one")).status == 404


async def test_a_pod_on_no_node_goes_at_once(api: Client) -> None:
    await api.create(f"{CORE}/pods", pod("one"))
    assert "deletionTimestamp" not in (await api.delete(f"{CORE}/pods/one")).body["metadata"]
    assert (await api.get(f"{CORE}/pods/one")).status == 404


async def test_a_precondition_guards_against_a_namesake(api: Client) -> None:
    await api.create(MAPS, config_map("one"))
    answer = await api.delete(f"{MAPS}/one", {"preconditions": {"uid": "other"}})
    assert (answer.status, answer.body["reason"]) == (409, "Conflict")
    assert "the UID in the precondition (other) does not match the UID in record" in answer.message


async def test_a_finalizer_holds_until_it_is_taken_off(api: Client) -> None:
    body = config_map("one") | {"metadata": {"name": "one", "finalizers": ["t.example/wait"]}}
    await api.create(MAPS, body)
    await api.delete(f"{MAPS}/one")
    assert "deletionTimestamp" in (await api.get(f"{MAPS}/one")).body["metadata"]
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["t.example/wait"]}}
    await api.patch(f"{MAPS}/one", patch, STRATEGIC)
    assert (await api.get(f"{MAPS}/one")).status == 404


async def test_a_dependent_goes_with_its_last_owner(api: Client) -> None:
    owner = (await api.create(MAPS, config_map("owner"))).body["metadata"]
    await api.create(MAPS, owned("child", owner))
    await api.delete(f"{MAPS}/owner")
    await api.gone(f"{MAPS}/child")


async def test_an_object_whose_owner_was_never_there_goes(api: Client) -> None:
    await api.create(MAPS, owned("child", {"name": "owner", "uid": "nobody"}))
    await api.gone(f"{MAPS}/child")


async def test_in_the_foreground_the_owner_goes_last(api: Client) -> None:
    owner = (await api.create(MAPS, config_map("owner"))).body["metadata"]
    await api.create(MAPS, owned("child", owner))
    async with await api.watch(MAPS, resourceVersion=owner["resourceVersion"]) as watched:
        await api.delete(f"{MAPS}/owner", {"propagationPolicy": "Foreground"})
        deleted: list[str] = []
        while len(deleted) < 2:
            event = await watched.next()
            deleted += [event["object"]["metadata"]["name"]] if event["type"] == "DELETED" else []
    assert deleted == ["child", "owner"]


async def test_orphans_stay_without_their_owner(api: Client) -> None:
    owner = (await api.create(MAPS, config_map("owner"))).body["metadata"]
    await api.create(MAPS, owned("child", owner))
    await api.delete(f"{MAPS}/owner", propagationPolicy="Orphan")
    await api.gone(f"{MAPS}/owner")
    assert "ownerReferences" not in (await api.get(f"{MAPS}/child")).body["metadata"]


async def test_a_namespace_empties_itself_and_goes(api: Client) -> None:
    await api.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
    shop = "/api/v1/namespaces/shop"
    await api.create(f"{shop}/configmaps", config_map("one"))
    await api.create(f"{shop}/pods", pod("held", nodeName="lab"))
    assert (await api.delete(shop)).body["status"]["phase"] == "Terminating"
    await api.gone(f"{shop}/configmaps/one")
    late = await api.create(f"{shop}/configmaps", config_map("late"))
    assert late.message == (
        'configmaps "late" is forbidden: unable to create new content in namespace shop because it is being terminated'
    )
    await api.delete(f"{shop}/pods/held", gracePeriodSeconds="0")
    await api.gone(shop)


async def test_a_namespace_has_its_account_and_label_at_once(api: Client) -> None:
    made = (await api.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})).body
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "shop"}
    assert (await api.get("/api/v1/namespaces/shop/serviceaccounts/default")).status == 200
    assert (await api.delete("/api/v1/namespaces/default")).message == (
        'namespaces "default" is forbidden: this namespace may not be deleted'
    )


async def test_a_collection_is_deleted_by_selector(api: Client) -> None:
    for name, labels in (("one", {"a": "1"}), ("two", {})):
        await api.create(MAPS, config_map(name, labels))
    await api.delete(MAPS, labelSelector="a=1")
    assert [each["metadata"]["name"] for each in (await api.get(MAPS)).body["items"]] == ["two"]
