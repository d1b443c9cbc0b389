"""The command itself: its verbs, its exit codes, and the sentences of what fails."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from handfast_operator import __version__
from handfast_operator.cli import main as command
from handfast_operator.cli.errors import told, unreachable
from handfast_operator.cli.main import main
from handfast_operator.cli.output import table
from handfast_operator.cluster.access import Access
from handfast_operator.cluster.client import ApiError
from support.ports import free_port

ACCESS = Access("https://api.example", None, source="context here of the kubeconfig /k")


def test_only_the_module_of_the_verb_that_is_asked_for_is_loaded() -> None:
    asked = "import sys; from handfast_operator.cli.main import main"
    asked += "\ntry: main(['edges', '--help'])\nexcept SystemExit: pass\n"
    loaded = "print([name for name in sys.modules if name in ('handfast_operator.cli.why', 'kopf', 'handfast_lab')])"
    done = subprocess.run([sys.executable, "-c", asked + loaded], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_what_is_not_understood_is_exit_code_two(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["nonsense"], ["why", "a"], ["why", "a", "b:1", "--output=xml"], ["policy", "effective"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2
    capsys.readouterr()


def test_as_a_plugin_it_calls_itself_what_was_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/kubectl-handfast"])
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    assert "usage: kubectl handfast [-h]" in told
    assert all(verb in told for verb in (*command.VERBS, *command.LAB_VERBS))


def test_without_the_lab_its_verbs_say_how_to_have_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_LAB", "no_such_package")
    assert main(["demo"]) == 2
    assert capsys.readouterr().err == "handfast demo: the lab is not installed: pip install 'handfast[lab]'\n"


def test_with_the_lab_its_verbs_are_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["lab", "--help"])
    assert caught.value.code == 0
    assert "--image NAME=PROGRAM" in capsys.readouterr().out


def test_a_missing_package_is_told_with_the_extra_that_has_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name="aiohttp")

    monkeypatch.setattr(command, "_load", missing)
    assert main(["why", "a", "b:1"]) == 2
    assert "aiohttp is not installed: pip install 'handfast[operator]'" in capsys.readouterr().err


def test_without_a_cluster_the_exit_code_is_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert main(["edges"]) == 3
    assert "handfast edges: no kubeconfig" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["version", "--client"], f"Client: {__version__}\n"),
        (["version", "--client", "-o", "json"], f'"client": "{__version__}"'),
        (["completion", "bash"], "complete -F _handfast handfast"),
        (["uninject", "-f", "/dev/null"], "\n"),
    ],
)
def test_verbs_that_need_no_cluster_look_for_no_kubeconfig(
    words: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    assert main(words) == 0
    assert told in capsys.readouterr().out


def test_an_api_server_that_is_away_is_named_with_its_kubeconfig(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kubeconfig"
    port = free_port()
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.write_text(json.dumps(document))
    assert main(["policy", "effective", "orders", f"--kubeconfig={path}"]) == 3
    where = f"http://127.0.0.1:{port} (context here of the kubeconfig {path})"
    assert capsys.readouterr().err == f"handfast policy: cannot reach the API server {where}: Connection refused\n"


@pytest.mark.parametrize(
    ("status", "message", "sentence"),
    [
        (401, "Unauthorized", "renew the credentials of context here of the kubeconfig /k"),
        (
            403,
            'pods "a" is forbidden: User "jane" cannot get resource "pods" in API group "" in the namespace "shop"',
            "jane may not get pods in the namespace shop: a Role with that right is missing",
        ),
        (
            403,
            'User "jane" cannot list resource "clustermtlspolicies" in API group "handfast.dev" at the cluster scope',
            "clustermtlspolicies.handfast.dev in the whole cluster: a ClusterRole with that right is missing",
        ),
        (403, "because", "you may not do that: because"),
        (404, "the server could not find the requested resource", "is Handfast installed there?"),
        (500, "etcd is away", "the API server says: etcd is away"),
    ],
)
def test_a_refusal_of_the_api_server_says_what_to_do(status: int, message: str, sentence: str) -> None:
    assert sentence in told(ApiError(status, "", message), ACCESS)


def test_silence_is_no_answer_in_time() -> None:
    assert unreachable(TimeoutError(), ACCESS).endswith("no answer in time")
    assert "gone" in unreachable(aiohttp.ServerDisconnectedError("gone"), ACCESS)


def test_a_table_has_columns_as_kubectl_writes_them() -> None:
    assert table(("NAME", "AGE"), [("orders", "3d"), ("a", "")]) == "NAME     AGE\norders   3d\na"
