"""Creating, reading and changing objects over HTTP."""

import base64

from lab.api.stage import CORE, JSON_PATCH, STRATEGIC, Client, config_map, pod, secret, service


async def test_an_object_gets_the_servers_fields(api: Client) -> None:
    made = (await api.create(f"{CORE}/configmaps", config_map("one", a="1"))).body
    assert {"uid", "creationTimestamp", "resourceVersion"} <= made["metadata"].keys()
    assert made["metadata"]["namespace"] == "default"
    assert (await api.get(f"{CORE}/configmaps/one")).body == made


async def test_a_name_is_made_of_its_beginning(api: Client) -> None:
    body = config_map("") | {"metadata": {"generateName": "one-"}}
    names = [(await api.create(f"{CORE}/configmaps", body)).body["metadata"]["name"] for _ in range(2)]
    assert all(name.startswith("one-") and len(name) == 9 for name in names)
    assert names[0] != names[1]


async def test_a_second_object_of_a_name_is_refused(api: Client) -> None:
    await api.create(f"{CORE}/configmaps", config_map("one"))
    again = await api.create(f"{CORE}/configmaps", config_map("one"))
    assert (again.status, again.body["reason"]) == (409, "AlreadyExists")
    assert again.message == 'configmaps "one" already exists'


async def test_a_bad_name_is_refused_with_the_rule(api: Client) -> None:
    answer = await api.create(f"{CORE}/services", service("1st"))
    assert answer.status == 422
    assert answer.message.startswith('Service "1st" is invalid: metadata.name: Invalid value: "1st": a DNS-1035 label')
    assert answer.body["details"]["causes"][0]["field"] == "metadata.name"


async def test_what_is_not_there_is_not_found(api: Client) -> None:
    assert (await api.get(f"{CORE}/pods/none")).message == 'pods "none" not found'
    assert (
        await api.get("/apis/nobody.example/v1/things")
    ).message == "the server could not find the requested resource"
    gone = await api.create("/api/v1/namespaces/none/configmaps", config_map("one"))
    assert (gone.status, gone.message) == (404, 'namespaces "none" not found')


async def test_a_stale_version_is_a_conflict(api: Client) -> None:
    made = (await api.create(f"{CORE}/configmaps", config_map("one", a="1"))).body
    path = f"{CORE}/configmaps/one"
    assert (await api.ask("PUT", path, made | {"data": {"a": "2"}})).status == 200
    stale = await api.ask("PUT", path, made | {"data": {"a": "3"}})
    assert (stale.status, stale.body["reason"]) == (409, "Conflict")
    assert "the object has been modified; please apply your changes to the latest version" in stale.message


async def test_a_lease_is_never_updated_blindly(api: Client) -> None:
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "one"}, "spec": {}}
    await api.create(path, lease)
    blind = await api.ask("PUT", f"{path}/one", lease)
    assert blind.status == 422
    assert "metadata.resourceVersion: Invalid value: 0: must be specified for an update" in blind.message


async def test_a_change_that_changes_nothing_keeps_the_version(api: Client) -> None:
    made = (await api.create(f"{CORE}/configmaps", config_map("one", a="1"))).body
    same = (await api.patch(f"{CORE}/configmaps/one", {"data": {"a": "1"}})).body
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_a_dry_run_answers_and_stores_nothing(api: Client) -> None:
    answer = await api.create(f"{CORE}/pods", pod("one"), dryRun="All")
    assert answer.body["spec"]["restartPolicy"] == "Always"
    assert (await api.get(f"{CORE}/pods/one")).status == 404


async def test_text_of_a_secret_becomes_data(api: Client) -> None:
    made = (await api.create(f"{CORE}/secrets", secret("s", stringData={"a": "b"}))).body
    assert (made["data"], made["type"]) == ({"a": base64.b64encode(b"b").decode()}, "Opaque")
    assert "stringData" not in made


async def test_a_tls_secret_needs_its_files(api: Client) -> None:
    answer = await api.create(f"{CORE}/secrets", secret("s", type="kubernetes.io/tls", data={"tls.crt": ""}))
    assert answer.message == 'Secret "s" is invalid: data[tls.key]: Required value'


async def test_an_immutable_secret_stays(api: Client) -> None:
    await api.create(f"{CORE}/secrets", secret("s", immutable=True, stringData={"a": "b"}))
    answer = await api.patch(f"{CORE}/secrets/s", {"stringData": {"a": "c"}})
    assert answer.message == 'Secret "s" is invalid: data: Forbidden: field is immutable when `immutable` is set'


async def test_a_pods_spec_stays_but_for_its_images(api: Client) -> None:
    await api.create(f"{CORE}/pods", pod("one"))
    path = f"{CORE}/pods/one"
    assert (await api.patch(path, [{"op": "replace", "path": "/spec/containers/0/image", "value": "app:2"}], JSON_PATCH)
            ).status == 200  # fmt: skip
    answer = await api.patch(path, {"spec": {"containers": [{"name": "app", "command": ["x"]}]}}, STRATEGIC)
    assert answer.status == 422
    assert answer.message.startswith(
        'Pod "one" is invalid: spec: Forbidden: pod updates may not change fields other than'
    )


async def test_a_status_is_written_through_its_subresource_alone(api: Client) -> None:
    made = (await api.create(f"{CORE}/pods", pod("one") | {"status": {"phase": "Running"}})).body
    assert made["status"]["phase"] == "Pending"
    ignored = await api.patch(f"{CORE}/pods/one", {"status": {"phase": "Running"}})
    assert ignored.body["status"]["phase"] == "Pending"
    told = {"status": {"phase": "Running"}, "metadata": {"labels": {"a": "b"}}}
    changed = (await api.patch(f"{CORE}/pods/one/status", told)).body
    assert changed["status"]["phase"] == "Running"
    assert "labels" not in changed["metadata"]


async def test_an_ephemeral_container_comes_through_its_subresource_and_stays(api: Client) -> None:
    await api.create(f"{CORE}/pods", pod("one"))
    debug = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "sh"}]}}
    path = f"{CORE}/pods/one/ephemeralcontainers"
    assert (await api.patch(path, debug, STRATEGIC)).body["spec"]["ephemeralContainers"][0]["name"] == "debug"
    gone = await api.patch(path, {"spec": {"ephemeralContainers": None}})
    assert gone.message.endswith("existing ephemeral containers may not be removed or changed")


async def test_yaml_is_read_as_json_has_it(api: Client) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, annotations: {at: 2026-01-01}}\n"
    made = await api.ask("POST", f"{CORE}/configmaps", body, "application/yaml")
    assert made.body["metadata"]["annotations"] == {"at": "2026-01-01"}


async def test_an_object_of_another_kind_or_name_than_the_path_is_refused(api: Client) -> None:
    await api.create(f"{CORE}/configmaps", config_map("one"))
    named = await api.ask("PUT", f"{CORE}/configmaps/one", config_map("two"))
    assert named.message == "the name of the object (two) does not match the name on the URL (one)"
    assert (await api.create(f"{CORE}/secrets", config_map("one"))).status == 400
    placed = config_map("three") | {"metadata": {"name": "three", "namespace": "kube-system"}}
    assert "does not match the namespace" in (await api.create(f"{CORE}/configmaps", placed)).message


async def test_a_scale_is_a_deployments_replicas(api: Client) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("")["spec"]}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}  # fmt: skip
    path = "/apis/apps/v1/namespaces/default/deployments"
    assert (await api.create(path, body)).body["spec"]["replicas"] == 1
    scaled = await api.patch(f"{path}/web/scale", {"spec": {"replicas": 3}})
    assert (scaled.body["kind"], scaled.body["spec"]["replicas"]) == ("Scale", 3)
    found = (await api.get(f"{path}/web")).body
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (3, 2)


async def test_events_have_two_faces(api: Client) -> None:
    about = {"kind": "Pod", "namespace": "default", "name": "one"}
    event = {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "regarding": about,
             "note": "hello", "reason": "Greeted", "type": "Normal"}  # fmt: skip
    made = await api.create("/apis/events.k8s.io/v1/namespaces/default/events", event)
    assert (made.body["apiVersion"], made.body["note"]) == ("events.k8s.io/v1", "hello")
    found = (await api.get(f"{CORE}/events", fieldSelector="involvedObject.name=one,type!=Warning")).body["items"]
    assert [(each["message"], each["involvedObject"]) for each in found] == [("hello", about)]


async def test_a_service_account_gets_tokens(api: Client) -> None:
    answer = await api.create(f"{CORE}/serviceaccounts/default/token", {"spec": {}})
    token = answer.body["status"]["token"]
    assert api.registry.tokens.user(f"Bearer {token}") == "system:serviceaccount:default:default"
