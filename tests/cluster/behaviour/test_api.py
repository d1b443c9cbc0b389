"""What we rely on of an API server: the same of the lab's embedded one as of the real one, so that it cannot drift."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from cluster.cluster import Cluster
from cluster.conftest import NamespaceFactory
from cluster.mesh import until
from cluster.release import Release
from handfast_operator.cluster.access import find_access
from handfast_operator.cluster.client import JSON_PATCH, ApiClient, ApiError
from handfast_operator.cluster.kinds import (
    CONFIG_MAPS,
    LEASES,
    METADATA_ONLY,
    MTLS_POLICIES,
    PODS,
    SECRETS,
    SERVICES,
)

Json = dict[str, Any]
STRATEGIC = "application/strategic-merge-patch+json"


@asynccontextmanager
async def api(cluster: Cluster) -> AsyncIterator[ApiClient]:
    async with ApiClient.connect(find_access({"KUBECONFIG": str(cluster.kubeconfig)})) as client:
        yield client


def config_map(name: str, **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def mtls_policy(**spec: Any) -> Json:
    return {"apiVersion": "handfast.dev/v1alpha1", "kind": "MTLSPolicy", "metadata": {"name": "one"}, "spec": spec}


def pod_of(container: Json, **metadata: str) -> Json:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def secret(**fields: Any) -> Json:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}, **fields}


async def events(client: ApiClient, path: str, number: int, **params: str) -> list[tuple[str, str]]:
    """The type and the name of the next events."""
    seen: list[tuple[str, str]] = []
    async with aclosing(client.watch(path, {"timeoutSeconds": "30", **params})) as watch:
        async for event in watch:
            if event["type"] != "BOOKMARK":
                seen.append((event["type"], event["object"]["metadata"].get("name", "")))
            if len(seen) == number:
                break
    return seen


async def test_a_watch_tells_every_change_in_order_from_where_the_list_ended(
    cluster: Cluster, namespace: NamespaceFactory
) -> None:
    path = CONFIG_MAPS.within(namespace())
    async with api(cluster) as client:
        since = (await client.get(path))["metadata"]["resourceVersion"]
        await client.create(path, config_map("one", a="1"))
        await client.patch(f"{path}/one", {"data": {"a": "2"}})
        await client.create(path, config_map("two"))
        await client.delete(f"{path}/one")
        own = {"resourceVersion": since, "fieldSelector": "metadata.name!=kube-root-ca.crt"}
        assert await events(client, path, 4, **own) == [
            ("ADDED", "one"),
            ("MODIFIED", "one"),
            ("ADDED", "two"),
            ("DELETED", "one"),
        ]


async def test_an_object_that_leaves_the_selection_is_deleted_for_who_watches_it(
    cluster: Cluster, namespace: NamespaceFactory
) -> None:
    path = CONFIG_MAPS.within(namespace())
    async with api(cluster) as client:
        since = (await client.get(path))["metadata"]["resourceVersion"]
        await client.create(path, config_map("one"))
        for color in ("red", "blue", "red"):
            await client.patch(f"{path}/one", {"metadata": {"labels": {"color": color}}})
        chosen = {"resourceVersion": since, "labelSelector": "color=red"}
        assert [kind for kind, _ in await events(client, path, 3, **chosen)] == ["ADDED", "DELETED", "ADDED"]


async def test_a_watch_from_a_forgotten_past_is_gone(cluster: Cluster, handfast: Release) -> None:
    async with api(cluster) as client:
        watch = client.watch(MTLS_POLICIES.path, {"resourceVersion": "1", "timeoutSeconds": "10"})
        async with aclosing(watch):
            event = await anext(watch)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert event["object"]["message"].startswith("too old resource version: 1 (")


async def test_a_list_comes_in_pages_and_an_unknown_page_is_refused(
    cluster: Cluster, namespace: NamespaceFactory
) -> None:
    path = CONFIG_MAPS.within(namespace())
    async with api(cluster) as client:
        for name in ("one", "two", "three"):
            await client.create(path, config_map(name))
        chosen = {"limit": "2", "fieldSelector": "metadata.name!=kube-root-ca.crt"}
        first = await client.get(path, chosen)
        rest = await client.get(path, {**chosen, "continue": first["metadata"]["continue"]})
        names = [each["metadata"]["name"] for each in (*first["items"], *rest["items"])]
        assert sorted(names) == ["one", "three", "two"]
        assert "continue" not in rest["metadata"]
        with pytest.raises(ApiError) as refused:
            await client.get(path, {**chosen, "continue": "nonsense"})
        assert refused.value.status in {400, 410}


async def test_of_two_who_read_the_same_version_the_second_has_a_conflict(
    cluster: Cluster, namespace: NamespaceFactory
) -> None:
    path = CONFIG_MAPS.within(namespace())
    async with api(cluster) as client:
        read = await client.create(path, config_map("one", a="1"))
        await client.replace(f"{path}/one", {**read, "data": {"a": "2"}})
        with pytest.raises(ApiError) as refused:
            await client.replace(f"{path}/one", {**read, "data": {"a": "3"}})
        assert (refused.value.status, refused.value.reason) == (409, "Conflict")
        assert refused.value.message == (
            'Operation cannot be fulfilled on configmaps "one": the object has been modified;'
            " please apply your changes to the latest version and try again"
        )
        with pytest.raises(ApiError) as again:
            await client.create(path, config_map("one"))
        assert (again.value.status, again.value.reason) == (409, "AlreadyExists")
        assert again.value.message == 'configmaps "one" already exists'


async def test_a_lease_is_taken_by_one_alone(cluster: Cluster, namespace: NamespaceFactory) -> None:
    path = LEASES.within(namespace())
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "x"}, "spec": {}}
    async with api(cluster) as client:
        read = await client.create(path, body)
        await client.replace(f"{path}/x", {**read, "spec": {"holderIdentity": "a"}})
        with pytest.raises(ApiError) as refused:
            await client.replace(f"{path}/x", {**read, "spec": {"holderIdentity": "b"}})
        assert refused.value.status == 409


async def test_patches_merge_replace_and_test(cluster: Cluster, namespace: NamespaceFactory) -> None:
    path = CONFIG_MAPS.within(namespace())
    async with api(cluster) as client:
        await client.create(path, config_map("one", a="1", b="2"))
        merged = await client.patch(f"{path}/one", {"data": {"a": None, "c": "3"}})
        assert merged["data"] == {"b": "2", "c": "3"}
        operations = [{"op": "replace", "path": "/data/b", "value": "4"}, {"op": "remove", "path": "/data/c"}]
        patched = await client.patch(f"{path}/one", operations, JSON_PATCH)
        assert patched["data"] == {"b": "4"}
        with pytest.raises(ApiError) as refused:
            await client.patch(f"{path}/one", [{"op": "test", "path": "/data/b", "value": "5"}], JSON_PATCH)
        assert refused.value.status == 422
        unchanged = await client.patch(f"{path}/one", {"data": {"b": "4"}})
        assert unchanged["metadata"]["resourceVersion"] == patched["metadata"]["resourceVersion"]


async def test_a_strategic_patch_merges_lists_by_their_keys(cluster: Cluster, namespace: NamespaceFactory) -> None:
    path = SERVICES.within(namespace())
    ports = [{"name": "a", "port": 1}, {"name": "b", "port": 2}]
    async with api(cluster) as client:
        body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports}}
        await client.create(path, body)
        change = {"spec": {"ports": [{"port": 2, "targetPort": 20}, {"port": 1, "$patch": "delete"}]}}
        patched = await client.patch(f"{path}/s", change, STRATEGIC)
        assert [(each["name"], each["port"], each["targetPort"]) for each in patched["spec"]["ports"]] == [("b", 2, 20)]


async def test_what_nobody_said_is_filled_in(cluster: Cluster, namespace: NamespaceFactory) -> None:
    here = namespace()
    async with api(cluster) as client:
        service = await client.create(
            SERVICES.within(here),
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}},
        )
        assert service["spec"]["clusterIP"] == service["spec"]["clusterIPs"][0]
        told = {
            name: service["spec"][name]
            for name in ("type", "sessionAffinity", "internalTrafficPolicy", "ipFamilyPolicy")
        }
        assert told == {
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster",
            "ipFamilyPolicy": "SingleStack",
        }
        assert service["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
        sticky = {"ports": [{"port": 80}], "sessionAffinity": "ClientIP"}
        service = await client.create(
            SERVICES.within(here),
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "sticky"}, "spec": sticky},
        )
        assert service["spec"]["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
        container = {"name": "app", "image": "x", "readinessProbe": {"tcpSocket": {"port": 1}}}
        pod = await client.create(
            PODS.within(here),
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"generateName": "p-"},
                "spec": {"containers": [container]},
            },
        )
        assert pod["metadata"]["name"].startswith("p-")
        spec = pod["spec"]
        assert (spec["restartPolicy"], spec["serviceAccountName"], spec["terminationGracePeriodSeconds"]) == (
            "Always",
            "default",
            30,
        )
        [token] = [each for each in spec["volumes"] if each["name"].startswith("kube-api-access-")]
        assert [
            each["mountPath"] for each in spec["containers"][0]["volumeMounts"] if each["name"] == token["name"]
        ] == ["/var/run/secrets/kubernetes.io/serviceaccount"]
        probe = spec["containers"][0]["readinessProbe"]
        assert (probe["periodSeconds"], probe["timeoutSeconds"], probe["failureThreshold"]) == (10, 1, 3)
        assert pod["status"]["phase"] == "Pending"


async def test_the_status_is_written_apart_from_the_rest(
    cluster: Cluster, handfast: Release, namespace: NamespaceFactory
) -> None:
    path = MTLS_POLICIES.within(namespace())
    async with api(cluster) as client:
        made = await client.create(path, {**mtls_policy(mode="Strict"), "status": {"selected": 77}})
        assert made.get("status", {}).get("selected") != 77
        assert made["metadata"]["generation"] == 1
        told = await client.patch(f"{path}/one/status", {"status": {"selected": 78}, "spec": {"mode": "Disabled"}})
        assert (told["status"]["selected"], told["spec"]["mode"], told["metadata"]["generation"]) == (78, "Strict", 1)
        changed = await client.patch(f"{path}/one", {"spec": {"mode": "Permissive"}, "status": {"selected": 79}})
        assert changed["metadata"]["generation"] == 2
        assert changed["status"]["selected"] != 79


UNCHECKED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid;"
    " correct the existing errors to complete validation"
)
REFUSED: dict[str, tuple[Json, str]] = {
    "another value than those of the list": (
        {"mode": "strict"},
        'spec.mode: Unsupported value: "strict": supported values: "Strict", "Permissive", "Disabled", "Auto"',
    ),
    "a field that is missing": ({"ports": [{"port": 80}]}, "spec.ports[0].mode: Required value"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_cannot_be_is_refused_in_these_words(
    cluster: Cluster, handfast: Release, namespace: NamespaceFactory, name: str
) -> None:
    spec, problem = REFUSED[name]
    async with api(cluster) as client:
        with pytest.raises(ApiError) as refused:
            await client.create(MTLS_POLICIES.within(namespace()), mtls_policy(**spec))
    assert (refused.value.status, refused.value.reason) == (422, "Invalid")
    assert refused.value.message == f'MTLSPolicy.handfast.dev "one" is invalid: [{problem}, {UNCHECKED}]'


async def test_unknown_fields_are_dropped_unless_the_client_is_strict(
    cluster: Cluster, handfast: Release, namespace: NamespaceFactory
) -> None:
    path = MTLS_POLICIES.within(namespace())
    async with api(cluster) as client:
        with pytest.raises(ApiError) as refused:
            await client._call("POST", path, params={"fieldValidation": "Strict"}, body=mtls_policy(mode="Strict", x=1))
        assert refused.value.status == 400
        assert 'strict decoding error: unknown field "spec.x"' in refused.value.message
        made = await client.create(path, mtls_policy(mode="Strict", x=1))
        assert made["spec"] == {"mode": "Strict"}


async def test_an_owned_object_goes_with_its_owner_and_one_with_another_uid_stays(
    cluster: Cluster, namespace: NamespaceFactory
) -> None:
    path = CONFIG_MAPS.within(namespace())
    async with api(cluster) as client:
        owner = await client.create(path, config_map("owner"))
        owned = config_map("owned")
        owned["metadata"]["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
        ]
        made = await client.create(path, owned)
        with pytest.raises(ApiError) as refused:
            await client.delete(f"{path}/owner", uid="00000000-0000-0000-0000-000000000000")
        assert refused.value.status == 409
        await client.delete(f"{path}/owner", uid=owner["metadata"]["uid"])
        own = {"resourceVersion": made["metadata"]["resourceVersion"], "fieldSelector": "metadata.name=owned"}
        assert await events(client, path, 1, **own) == [("DELETED", "owned")]


async def test_a_list_of_metadata_has_no_content(cluster: Cluster, namespace: NamespaceFactory) -> None:
    here, body = namespace(), secret()
    body["metadata"]["labels"] = {"l": "1"}
    async with api(cluster) as client:
        made = await client.create(SECRETS.within(here), body)
        assert made["data"] == {"a": "Yg=="}
        listed = await client.get(SECRETS.path, {"labelSelector": "l=1"}, accept=METADATA_ONLY)
        assert listed["kind"] == "PartialObjectMetadataList"
        [found] = [each for each in listed["items"] if each["metadata"]["namespace"] == here]
        assert set(found) <= {"metadata", "kind", "apiVersion"}


async def test_an_immutable_secret_stays_as_it_is(cluster: Cluster, namespace: NamespaceFactory) -> None:
    path = SECRETS.within(namespace())
    async with api(cluster) as client:
        await client.create(path, secret(immutable=True))
        with pytest.raises(ApiError) as refused:
            await client.patch(f"{path}/s", {"stringData": {"a": "c"}})
        assert refused.value.status == 422
        assert "field is immutable when `immutable` is set" in refused.value.message


async def test_who_wrote_which_field_is_told(cluster: Cluster, namespace: NamespaceFactory) -> None:
    path = SECRETS.within(namespace())
    async with api(cluster) as client:
        await client.create(path, secret())
        other = {"fieldManager": "somebody"}
        headers = {"Content-Type": "application/merge-patch+json"}
        told = await client._call("PATCH", f"{path}/s", params=other, body={"data": {"c": "ZA=="}}, headers=headers)
        owners = {each["manager"]: each["fieldsV1"]["f:data"] for each in told["metadata"]["managedFields"]}
        assert "f:a" in owners["handfast-controller"]
        assert "f:c" in owners["somebody"]


async def test_a_refusing_webhook_speaks_in_the_servers_words(
    cluster: Cluster, handfast: Release, namespace: NamespaceFactory
) -> None:
    container = {"name": "app", "image": "x", "securityContext": {"runAsUser": 7443}}
    async with api(cluster) as client:
        with pytest.raises(ApiError) as refused:
            await client.create(PODS.within(namespace(inject=True)), pod_of(container, name="p"))
    assert refused.value.message.startswith('admission webhook "namespace.inject.handfast.dev" denied the request: ')


def test_a_services_endpoints_follow_its_pods(cluster: Cluster, namespace: NamespaceFactory) -> None:
    here = namespace()
    cluster.apply_ready(*cluster.workloads.server("orders", here, "http"))

    def ready_endpoints() -> list[Any]:
        slices = cluster.list("endpointslices", here, selector="kubernetes.io/service-name=orders")
        return [end for each in slices for end in each["endpoints"] if end["conditions"]["ready"]]

    [endpoint] = until("the controller has seen that the pod is Ready", ready_endpoints)
    assert endpoint["addresses"] == [cluster.address_of("orders", here)]
    assert endpoint["conditions"] == {"ready": True, "serving": True, "terminating": False}
    assert endpoint["targetRef"]["name"] == "orders"


async def test_nothing_is_made_in_a_namespace_that_ends_or_never_was(
    cluster: Cluster, namespace: NamespaceFactory
) -> None:
    async with api(cluster) as client:
        with pytest.raises(ApiError) as refused:
            await client.create(CONFIG_MAPS.within("never-was"), config_map("one"))
    assert (refused.value.status, refused.value.message) == (404, 'namespaces "never-was" not found')


async def test_names_that_cannot_be_are_refused(cluster: Cluster, namespace: NamespaceFactory) -> None:
    async with api(cluster) as client:
        with pytest.raises(ApiError) as refused:
            await client.create(CONFIG_MAPS.within(namespace()), config_map("Not_A_Name"))
    assert refused.value.status == 422
    assert 'metadata.name: Invalid value: "Not_A_Name": a lowercase RFC 1123 subdomain must consist of' in (
        refused.value.message
    )
