"""`exec` and `logs`, with real processes behind the API."""

import sys

import pytest

from lab.api.stage import Json, pod
from lab.kubectl.stage import Terminal

CAT = f"{sys.executable} -c 'import sys; sys.stdout.write(sys.stdin.read().upper())'"


def labelled(name: str, **spec: object) -> Json:
    found = pod(name, **spec)
    found["metadata"]["labels"] = {"app": "web"}
    return found


async def test_what_a_command_says_and_how_it_ends_comes_back(kubectl: Terminal) -> None:
    await kubectl("apply -f -", pod("web"))
    said = await kubectl("exec web -- sh -c 'echo out; echo err >&2; exit 7'")
    assert (said.code, said.out) == (7, "out\n")
    assert said.err == "err\ncommand terminated with exit code 7\n"


async def test_a_command_reads_what_is_typed(kubectl: Terminal) -> None:
    await kubectl("apply -f -", pod("web"))
    assert (await kubectl(f"exec -i web -- {CAT}", "hello " * 20_000)).out == "HELLO " * 20_000


async def test_a_long_answer_arrives_whole(kubectl: Terminal) -> None:
    await kubectl("apply -f -", pod("web"))
    said = await kubectl(f"exec web -- {sys.executable} -c 'print(\"ä\" * 300_000)'")
    assert said.out == "ä" * 300_000 + "\n"


async def test_a_deployment_stands_for_one_of_its_pods(kubectl: Terminal) -> None:
    selector = {"matchLabels": {"app": "web"}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod("web")["spec"]}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
                  "spec": {"selector": selector, "template": template}}  # fmt: skip
    for each in (deployment, labelled("web-1"), labelled("web-2")):
        await kubectl("apply -f -", each)
    said = await kubectl("logs deploy/web --tail=5")
    assert said.out == "app of web-1 tail=5\n"
    assert said.err == "Found 2 pods, using pod/web-1\n"
    assert (await kubectl("exec deployment/web -- true")).code == 0


async def test_the_first_container_is_the_default_and_told(kubectl: Terminal) -> None:
    containers = [{"name": "app", "image": "a"}, {"name": "other", "image": "b"}]
    await kubectl("apply -f -", pod("web", containers=containers, initContainers=[{"name": "first", "image": "c"}]))
    said = await kubectl("logs web")
    assert said.out.startswith("app of web")
    assert said.err == 'Defaulted container "app" out of: app, other, first (init)\n'
    assert (await kubectl("logs web -c other")).out.startswith("other of web")
    assert "container no is not valid for pod web out of: app, other" in (await kubectl("logs web -c no")).err


async def test_the_pods_own_default_comes_first(kubectl: Terminal) -> None:
    found = pod("web", containers=[{"name": "app", "image": "a"}, {"name": "other", "image": "b"}])
    found["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "other"}
    await kubectl("apply -f -", found)
    said = await kubectl("logs web")
    assert (said.out, said.err) == ("other of web tail=None\n", "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("logs no", 'error: error from server (NotFound): pods "no" not found in namespace "default"\n'),
        ("exec no -- true", 'Error from server (NotFound): pods "no" not found\n'),
        ("exec web", "error: you must specify at least one command for the container\n"),
        ("logs web -p", 'Error from server (BadRequest): previous terminated container "app" in pod "web" not found\n'),
    ],
)
async def test_what_cannot_be_done_is_told(kubectl: Terminal, words: str, told: str) -> None:
    await kubectl("apply -f -", pod("web"))
    said = await kubectl(words)
    assert (said.code, said.err) == (1, told)
