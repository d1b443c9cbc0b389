"""`get`, `describe`, `version` and their like."""

import asyncio
import json
from pathlib import Path

import pytest

from lab.api.stage import THINGS, config_map, pod, secret, thing
from lab.kubectl.stage import Head, Terminal, kubeconfig


@pytest.mark.parametrize(
    "word", ["things", "thing", "th", "Thing", "things.t.example", "things.v1.t.example", "th/one"]
)
async def test_a_kind_is_known_by_all_of_its_names(kubectl: Terminal, word: str) -> None:
    await kubectl.api.create(THINGS, thing("one", size=3))
    said = await kubectl(f"get {word}")
    assert said.out.splitlines()[0].split() == ["NAME", "SIZE"]
    assert said.out.splitlines()[1].split() == ["one", "3"]


@pytest.mark.parametrize("word", ["cm", "configmap", "configmaps", "ConfigMap"])
async def test_a_built_in_kind_is_too(kubectl: Terminal, word: str) -> None:
    await kubectl("apply -f -", config_map("one"))
    assert (await kubectl(f"get {word} one -o name")).out == "configmap/one\n"


async def test_a_kind_that_is_none_is_refused(kubectl: Terminal) -> None:
    said = await kubectl("get foos")
    assert (said.code, said.out, said.err) == (1, "", 'error: the server doesn\'t have a resource type "foos"\n')


async def test_several_kinds_are_told_apart_by_their_names(kubectl: Terminal) -> None:
    await kubectl("apply -f -", config_map("one"))
    await kubectl("apply -f -", secret("two"))
    lines = (await kubectl("get cm,secrets,pods")).out.splitlines()
    assert lines[1].startswith("configmap/one ")
    assert lines[2] == ""
    assert lines[4].startswith("secret/two ")


async def test_all_namespaces_have_a_column(kubectl: Terminal) -> None:
    lines = (await kubectl("get sa -A")).out.splitlines()
    assert lines[0].split()[:2] == ["NAMESPACE", "NAME"]
    assert [line.split()[:2] for line in lines[1:]] == [
        [namespace, "default"] for namespace in ("default", "kube-public", "kube-system")
    ]


async def test_nothing_is_told_apart_from_not_found(kubectl: Terminal) -> None:
    assert (await kubectl("get pods")).err == "No resources found in default namespace.\n"
    assert (await kubectl("get pods -A")).err == "No resources found\n"
    missing = await kubectl("get pods web shop")
    assert missing.code == 1
    assert missing.err.splitlines()[1] == 'Error from server (NotFound): pods "shop" not found'
    ignored = await kubectl("get pod web --ignore-not-found -o name")
    assert (ignored.code, ignored.out, ignored.err) == (0, "", "")


async def test_one_object_is_itself_and_several_are_a_list(kubectl: Terminal) -> None:
    await kubectl("apply -f -", config_map("one", a="b"))
    assert (await kubectl("get cm/one -o json")).json["data"] == {"a": "b"}
    found = (await kubectl("get cm -o json")).json
    assert (found["kind"], [each["kind"] for each in found["items"]]) == ("List", ["ConfigMap"])
    assert "  a: b\n" in (await kubectl("get cm/one -o yaml")).out


async def test_selectors_select(kubectl: Terminal) -> None:
    for name, labels in (("one", {"app": "a"}), ("two", {"app": "b"})):
        await kubectl("apply -f -", config_map(name, labels))
    assert (await kubectl("get cm -l app=b -o name")).out == "configmap/two\n"
    assert (await kubectl("get cm --field-selector metadata.name=one -o name")).out == "configmap/one\n"


async def test_a_watch_shows_what_is_there_and_what_happens(kubectl: Terminal) -> None:
    await kubectl("apply -f -", thing("one", size=1))
    head = Head(3)
    watching = asyncio.create_task(kubectl("get things -w", out=head))
    await head.begun.wait()
    await kubectl("patch thing one --type=merge -p 'spec: {size: 2}'")
    with pytest.raises(BrokenPipeError):
        await watching
    assert [line.split() for line in head.getvalue().splitlines()] == [["NAME", "SIZE"], ["one", "1"], ["one", "2"]]


async def test_raw_paths_are_printed_as_they_are(kubectl: Terminal) -> None:
    assert (await kubectl("get --raw /readyz")).out == "ok"
    assert json.loads((await kubectl("get --raw /version")).out)["major"] == "1"


async def test_a_description_tells_of_spec_and_events(kubectl: Terminal) -> None:
    await kubectl("apply -f -", thing("one", color="red"))
    meta = (await kubectl("get thing one -o json")).json["metadata"]
    about = {"kind": "Thing", "name": "one", "namespace": "default", "uid": meta["uid"]}
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": about, "type": "Normal",
             "reason": "Seen", "message": "it was", "lastTimestamp": "2026-01-01T00:00:00Z"}  # fmt: skip
    assert (await kubectl("create -f -", event)).code == 0
    lines = (await kubectl("describe thing one")).out.splitlines()
    assert "  color: red" in lines
    assert lines[-1].split()[:2] == ["Normal", "Seen"]


async def test_the_rest_of_what_one_may_ask(kubectl: Terminal) -> None:
    assert "Server Version: v1." in (await kubectl("version")).out
    assert ["things", "th", "t.example/v1", "true", "Thing"] in [
        line.split() for line in (await kubectl("api-resources")).out.splitlines()
    ]
    assert (await kubectl("auth can-i list pods --as=someone")).out == "yes\n"


async def test_the_namespace_of_the_kubeconfig_is_the_default(kubectl: Terminal, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, str(kubectl.api.session._base_url), namespace="kube-system")
    assert "in kube-system namespace" in (await kubectl(f"get pods --kubeconfig={path}")).err
    assert "in default namespace" in (await kubectl(f"get pods -n default --kubeconfig={path}")).err


async def test_a_server_that_is_not_there_is_told_so(kubectl: Terminal, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "http://127.0.0.1:1")
    said = await kubectl(f"get pods --kubeconfig={path}")
    assert (said.code, said.err) == (
        1,
        "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?\n",
    )


async def test_a_kubeconfig_that_is_not_there_is_told_so(kubectl: Terminal) -> None:
    assert "error: the kubeconfig /nowhere cannot be used" in (await kubectl("get pods --kubeconfig=/nowhere")).err


async def test_a_pods_table_is_the_servers(kubectl: Terminal) -> None:
    await kubectl("apply -f -", pod("web"))
    heads = (await kubectl("get pods")).out.splitlines()[0].split()
    assert heads == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert "NODE" in (await kubectl("get pods -o wide")).out.splitlines()[0].split()
