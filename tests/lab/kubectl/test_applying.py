"""`apply` and `create`."""

import json
from pathlib import Path

from handfast_lab.kubectl.merging import LAST_APPLIED
from lab.api.stage import config_map, pod, secret, service, thing
from lab.kubectl.stage import Terminal


async def test_what_is_applied_is_created_changed_or_left(kubectl: Terminal) -> None:
    assert (await kubectl("apply -f -", config_map("one", a="b"))).out == "configmap/one created\n"
    assert (await kubectl("apply -f -", config_map("one", a="b"))).out == "configmap/one unchanged\n"
    assert (await kubectl("apply -f -", config_map("one", c="d"))).out == "configmap/one configured\n"
    found = (await kubectl("get cm one -o json")).json
    assert found["data"] == {"c": "d"}
    assert json.loads(found["metadata"]["annotations"][LAST_APPLIED])["data"] == {"c": "d"}


async def test_what_others_wrote_stays(kubectl: Terminal) -> None:
    await kubectl("apply -f -", thing("one", size=1))
    await kubectl("label thing one theirs=yes")
    await kubectl('patch thing one --type=merge -p \'{"spec":{"color":"red"}}\'')
    assert (await kubectl("apply -f -", thing("one", size=2))).out == "thing.t.example/one configured\n"
    found = (await kubectl("get thing one -o json")).json
    assert (found["spec"], found["metadata"]["labels"]) == ({"size": 2, "color": "red"}, {"theirs": "yes"})


async def test_a_pod_that_the_server_has_completed_is_unchanged(kubectl: Terminal) -> None:
    await kubectl("apply -f -", pod("web"))
    assert (await kubectl("apply -f -", pod("web"))).out == "pod/web unchanged\n"


async def test_a_service_keeps_what_the_server_has_given_it(kubectl: Terminal) -> None:
    await kubectl("apply -f -", service("web"))
    address = (await kubectl("get svc web -o json")).json["spec"]["clusterIP"]
    more = service("web", ports=[{"port": 80}, {"port": 81, "name": "more"}])
    assert (await kubectl("apply -f -", more)).out == "service/web configured\n"
    found = (await kubectl("get svc web -o json")).json["spec"]
    assert found["clusterIP"] == address
    assert [each["protocol"] for each in found["ports"]] == ["TCP", "TCP"]


async def test_one_that_was_made_otherwise_is_taken_over_with_a_warning(kubectl: Terminal) -> None:
    await kubectl("create -f -", config_map("one"))
    said = await kubectl("apply -f -", config_map("one", a="b"))
    assert said.out == "configmap/one configured\n"
    assert said.err.startswith(f"Warning: resource configmaps/one is missing the {LAST_APPLIED} annotation")


async def test_server_side_apply_needs_force_where_others_own(kubectl: Terminal) -> None:
    await kubectl("create -f -", config_map("one", a="theirs"))
    refused = await kubectl("apply --server-side -f -", config_map("one", a="ours"))
    assert refused.code == 1
    assert refused.err.startswith("error: Apply failed with 1 conflict")
    assert "--force-conflicts" in refused.err
    forced = await kubectl("apply --server-side --force-conflicts -f -", config_map("one", a="ours"))
    assert forced.out == "configmap/one serverside-applied\n"


async def test_lists_documents_and_folders_are_read(kubectl: Terminal, tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "b.yaml").write_text("# first\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: b}\n---\n")
    (folder / "a.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [config_map("a")]}))
    (folder / "README.md").write_text("no manifest")
    assert (await kubectl(f"apply -f {folder}")).out == "configmap/a created\nsecret/b created\n"


async def test_dates_without_quotes_are_text(kubectl: Terminal) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {at: 2026-01-01}\n"
    await kubectl("apply -f -", text)
    assert (await kubectl("get cm one -o json")).json["data"] == {"at": "2026-01-01"}


async def test_what_is_wrong_with_one_object_does_not_stop_the_others(kubectl: Terminal) -> None:
    unknown = thing("bad") | {"spec": {"siez": 1}}
    items = [unknown, {"apiVersion": "no/v1", "kind": "No", "metadata": {"name": "x"}}, config_map("good")]
    said = await kubectl("apply -f -", {"apiVersion": "v1", "kind": "List", "items": items})
    assert (said.code, said.out) == (1, "configmap/good created\n")
    assert 'Error from server (BadRequest): error when creating "STDIN"' in said.err
    assert 'unknown field "spec.siez"' in said.err
    assert 'no matches for kind "No" in version "no/v1"\nensure CRDs are installed first' in said.err


async def test_a_value_that_is_refused_is_told_by_its_field(kubectl: Terminal) -> None:
    said = await kubectl("apply -f -", thing("bad", size="large"))
    assert said.err.startswith('The Thing "bad" is invalid: spec.size: Invalid value:')


async def test_files_that_cannot_be_used_are_told(kubectl: Terminal) -> None:
    assert (await kubectl("apply -f nowhere.yaml")).err == 'error: the path "nowhere.yaml" does not exist\n'
    assert (await kubectl("apply -f -")).err == "error: no objects passed to apply\n"
    assert (await kubectl("apply -f -", "a: [\n")).err.startswith("error: error parsing STDIN: error converting YAML")
    assert "apiVersion not set" in (await kubectl("apply -f -", "kind: Pod\n")).err
    assert (await kubectl("apply")).err == "error: must specify one of -f and -k\n"


async def test_a_namespace_that_contradicts_is_refused(kubectl: Terminal) -> None:
    elsewhere = config_map("one") | {"metadata": {"name": "one", "namespace": "kube-system"}}
    said = await kubectl("apply -n default -f -", elsewhere)
    assert 'the namespace from the provided object "kube-system" does not match the namespace "default"' in said.err
    assert (await kubectl("apply -f -", elsewhere)).code == 0


async def test_a_dry_run_leaves_nothing(kubectl: Terminal) -> None:
    assert (await kubectl("create --dry-run=server -f -", config_map("one"))).out == (
        "configmap/one created (server dry run)\n"
    )
    assert (await kubectl("get cm one")).code == 1


async def test_what_is_there_is_not_created_again(kubectl: Terminal) -> None:
    await kubectl("create -f -", config_map("one"))
    assert (await kubectl("create -f -", config_map("one"))).err == (
        'Error from server (AlreadyExists): error when creating "STDIN": configmaps "one" already exists\n'
    )


async def test_a_few_kinds_are_created_by_words(kubectl: Terminal) -> None:
    assert (await kubectl("create namespace shop")).out == "namespace/shop created\n"
    assert (await kubectl("create sa cart -n shop")).out == "serviceaccount/cart created\n"
    assert (await kubectl("create secret generic s -n shop --from-literal=a=b=c")).out == "secret/s created\n"
    assert (await kubectl("get secret s -n shop -o json")).json["data"] == {"a": "Yj1j"}
    assert (await kubectl("create token cart -n shop")).out.strip()
    assert (await kubectl("create secret generic s -n shop")).err == (
        'error: failed to create secret secrets "s" already exists\n'
    )


async def test_yaml_that_is_written_can_be_applied(kubectl: Terminal) -> None:
    await kubectl("apply -f -", secret("one", stringData={"a": "b\nc\n"}))
    text = (await kubectl("get secret one -o yaml")).out
    assert (await kubectl("apply -f -", text)).code == 0
