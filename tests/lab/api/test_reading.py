"""Lists, watches, and how objects are shown."""

from lab.api.stage import CORE, THINGS, Client, config_map, pod, secret, serving, thing

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
MAPS = f"{CORE}/configmaps"


async def test_a_list_is_selected_by_labels_and_fields(api: Client) -> None:
    for name, labels in (("one", {"a": "1"}), ("two", {"a": "2"}), ("three", {})):
        await api.create(MAPS, config_map(name, labels))

    async def names(**query: str) -> set[str]:
        return {each["metadata"]["name"] for each in (await api.get(MAPS, **query)).body["items"]}

    assert await names(labelSelector="a in (1,2),a!=2") == {"one"}
    assert await names(labelSelector="!a") == {"three"}
    assert await names(labelSelector="a notin (1)", fieldSelector="metadata.name!=three") == {"two"}
    assert (await api.get(MAPS, fieldSelector="data.a=1")).message == "field label not supported: data.a"
    assert (await api.get(MAPS, labelSelector="a in 1")).status == 400


async def test_a_list_comes_in_pages_of_one_version(api: Client) -> None:
    for name in ("a", "b", "c"):
        await api.create(MAPS, config_map(name))
    first = (await api.get(MAPS, limit="2")).body
    await api.create(MAPS, config_map("d"))
    rest = (await api.get(MAPS, limit="2", **{"continue": first["metadata"]["continue"]})).body
    assert [each["metadata"]["name"] for each in (*first["items"], *rest["items"])] == ["a", "b", "c", "d"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert (await api.get(MAPS, **{"continue": "nonsense"})).status == 400


async def test_a_page_of_a_forgotten_list_is_gone() -> None:
    async with serving(history=2) as api:
        for name in ("a", "b"):
            await api.create(MAPS, config_map(name))
        first = (await api.get(MAPS, limit="1")).body
        for name in ("c", "d", "e"):
            await api.create(MAPS, config_map(name))
        gone = await api.get(MAPS, **{"continue": first["metadata"]["continue"]})
        assert (gone.status, gone.body["reason"]) == (410, "Expired")


async def test_a_watch_begins_with_what_is_there(api: Client) -> None:
    await api.create(MAPS, config_map("one"))
    async with await api.watch(MAPS) as watched:
        assert (await watched.next())["object"]["metadata"]["name"] == "one"
        await api.delete(f"{MAPS}/one")
        last = await watched.next()
    assert last["type"] == "DELETED"
    assert int(last["object"]["metadata"]["resourceVersion"]) == api.registry.store.version


async def test_a_watch_goes_on_where_a_list_ended(api: Client) -> None:
    await api.create(MAPS, config_map("one"))
    version = (await api.get(MAPS)).body["metadata"]["resourceVersion"]
    await api.create(MAPS, config_map("two"))
    async with await api.watch(MAPS, resourceVersion=version) as watched:
        event = await watched.next()
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "two")


async def test_who_leaves_the_selection_is_deleted_and_who_enters_it_is_added(api: Client) -> None:
    await api.create(MAPS, config_map("one", {"a": "1"}))
    async with await api.watch(MAPS, labelSelector="a=1") as watched:
        kinds = [(await watched.next())["type"]]
        for value in ("2", "1"):
            await api.patch(f"{MAPS}/one", {"metadata": {"labels": {"a": value}}})
            kinds.append((await watched.next())["type"])
    assert kinds == ["ADDED", "DELETED", "ADDED"]


async def test_a_watch_of_a_forgotten_version_is_told_so() -> None:
    async with serving(history=2) as api:
        version = (await api.get(MAPS)).body["metadata"]["resourceVersion"]
        for name in ("a", "b", "c"):
            await api.create(MAPS, config_map(name))
        async with await api.watch(MAPS, resourceVersion=version) as watched:
            [event] = await watched.until_end()
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_silence_is_broken_by_bookmarks_and_ends_in_time() -> None:
    async with serving(bookmark_s=0.05) as api:
        version = (await api.get(MAPS)).body["metadata"]["resourceVersion"]
        await api.create(f"{CORE}/secrets", secret("s"))
        async with await api.watch(
            MAPS, resourceVersion=version, allowWatchBookmarks="true", timeoutSeconds="0.2"
        ) as watched:
            events = await watched.until_end()
    assert {each["type"] for each in events} == {"BOOKMARK"}
    assert int(events[0]["object"]["metadata"]["resourceVersion"]) > int(version)


async def test_a_streamed_list_ends_with_a_bookmark(api: Client) -> None:
    await api.create(MAPS, config_map("one"))
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with await api.watch(MAPS, **query) as watched:
        events = [await watched.next() for _ in range(2)]
    assert [each["type"] for each in events] == ["ADDED", "BOOKMARK"]
    assert events[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_metadata_alone_has_no_secrets(api: Client) -> None:
    await api.create(f"{CORE}/secrets", secret("s", stringData={"a": "b"}))
    found = (await api.get(f"{CORE}/secrets", PARTIAL)).body
    assert found["kind"] == "PartialObjectMetadataList"
    assert found["items"][0].keys() == {"kind", "apiVersion", "metadata"}


async def test_a_table_of_pods_says_how_they_are(api: Client) -> None:
    await api.create(f"{CORE}/pods", pod("one", nodeName="lab"))
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    statuses = [{"name": "app", "ready": False, "restartCount": 3, "state": state}]
    await api.patch(f"{CORE}/pods/one/status", {"status": {"phase": "Running", "containerStatuses": statuses}})
    table = (await api.get(f"{CORE}/pods", TABLE)).body
    assert [each["name"] for each in table["columnDefinitions"]][:4] == ["Name", "Ready", "Status", "Restarts"]
    assert table["rows"][0]["cells"][:4] == ["one", "0/1", "CrashLoopBackOff", "3"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


async def test_a_table_of_custom_resources_has_their_columns(things: Client) -> None:
    await things.create(THINGS, thing("one", size=3))
    table = (await things.get(THINGS, TABLE)).body
    assert [each["name"] for each in table["columnDefinitions"]] == ["Name", "Size"]
    assert table["rows"][0]["cells"] == ["one", 3]


async def test_discovery_names_what_is_served(things: Client) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    groups = {each["metadata"]["name"]: each for each in (await things.get("/apis", accept)).body["items"]}
    assert groups["t.example"]["versions"][0]["resources"][0]["shortNames"] == ["th"]
    older = (await things.get("/apis/t.example/v1")).body["resources"]
    assert [each["name"] for each in older] == ["things", "things/status"]
    paths = (await things.get("/openapi/v3/apis/t.example/v1")).body["paths"]
    [patch] = [each["patch"] for path, each in paths.items() if path.endswith("{name}")]
    assert patch["parameters"][0]["name"] == "fieldValidation"
