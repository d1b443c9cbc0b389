"""Completion in real shells: what Tab offers in bash, zsh and fish, and what kubectl is answered."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from handfast_operator.cli import completing
from handfast_operator.cli.completion import bash, fish, zsh
from handfast_operator.cli.grammar import PODS, matching
from handfast_operator.cli.main import VERBS, grammars
from support.api_server import serving

TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH with `handfast` in it."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "handfast"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m handfast_operator.cli.main "$@"\n')
    command.chmod(0o755)
    return f"{folder}:/usr/local/bin:/usr/bin:/bin"


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("kube") / "config"
    names = ("staging", "production")
    file.write_text(yaml.safe_dump({"contexts": [{"name": each, "context": {"cluster": "c"}} for each in names]}))
    return file


def environment(path: str, kubeconfig: Path, home: Path) -> dict[str, str]:
    return {"PATH": path, "KUBECONFIG": str(kubeconfig), "HOME": str(home), "TERM": "dumb", "LC_ALL": "C.UTF-8"}


def script(tmp_path: Path, shell: str) -> Path:
    """As `handfast completion SHELL` prints it."""
    file = tmp_path / f"handfast.{shell}"
    file.write_text({"bash": bash, "zsh": zsh, "fish": fish}[shell](grammars()) + "\n")
    return file


SETUP = """\
unsetopt zle_bracketed_paste
autoload -Uz compinit
compinit -u -D
source {script}
show() {{ zle -I; print -r -- "<<$BUFFER>>"; BUFFER='' }}
zle -N show
bindkey '^X' show
echo READY
"""
"""Of zsh: Ctrl-X tells what stands on the line, and clears it."""
CASES = {
    "ro": {"rotate"},
    "certs --exp": {"--expiring"},
    "certs --output w": {"wide"},
    "completion z": {"zsh"},
    "edges --context st": {"staging"},
}


def test_bash_offers_verbs_options_their_words_and_contexts(tmp_path: Path, path: str, kubeconfig: Path) -> None:
    """With words split at `=`, as bash does it at a prompt."""
    lines = [f"source {script(tmp_path, 'bash')}"]
    cases = CASES | {"certs --output = js": {"json"}, "certs --output =": {"table", "wide", "json", "yaml"}}
    for typed in cases:
        words = " ".join(f"'{each}'" for each in ["handfast", *typed.split(" ")])
        lines.append(
            f'COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _handfast; echo "${{COMPREPLY[*]}}"'
        )
    done = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        check=True,
        env=environment(path, kubeconfig, tmp_path),
    )
    assert done.stderr == ""
    offered = [set(line.split()) for line in done.stdout.splitlines()]
    assert dict(zip(cases, offered, strict=True)) == cases


def test_fish_offers_the_same(tmp_path: Path, path: str, kubeconfig: Path) -> None:
    lines = [f"source {script(tmp_path, 'fish')}"]
    for typed in CASES:
        lines += [f"complete -C 'handfast {typed}'", "echo ---"]
    done = subprocess.run(
        ["fish", "--no-config", "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        check=True,
        env=environment(path, kubeconfig, tmp_path),
    )
    assert done.stderr == ""
    offered = [{line.split("\t")[0] for line in part.splitlines() if line} for part in done.stdout.split("---\n")[:-1]]
    assert dict(zip(CASES, offered, strict=True)) == CASES


@contextmanager
def zsh_prompt(variables: dict[str, str]) -> Iterator[int]:
    """An interactive zsh at a terminal; its file descriptor."""
    found = shutil.which("zsh")
    assert found is not None
    child, terminal = pty.fork()
    if child == 0:
        os.execve(  # noqa: S606 - the child of a terminal
            found, ["zsh", "-f", "-i"], variables
        )
    try:
        yield terminal
    finally:
        os.close(terminal)
        os.waitpid(child, 0)


def until(terminal: int, text: str) -> str:
    """What is written until then."""
    said, ends = "", time.monotonic() + TIMEOUT_S
    while text not in said:
        ready, _, _ = select.select([terminal], [], [], max(0.0, ends - time.monotonic()))
        assert ready, f"{text!r} did not come; zsh said {said!r}"
        said += os.read(terminal, 65536).decode(errors="replace")
    return said


def test_zsh_completes_what_is_typed_at_its_prompt(tmp_path: Path, path: str, kubeconfig: Path) -> None:
    setup = tmp_path / "setup"
    setup.write_text(SETUP.format(script=script(tmp_path, "zsh")))
    with zsh_prompt(environment(path, kubeconfig, tmp_path)) as terminal:
        os.write(terminal, f"source {setup}\n".encode())
        until(terminal, "READY")
        for typed, words in CASES.items():
            os.write(terminal, f"handfast {typed}\t\x18".encode())
            line = until(terminal, ">>").rpartition("<<")[2].partition(">>")[0]
            assert line.split()[-1] in words, (typed, line)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ([""], {*VERBS, "demo", "lab"}),
        (["re"], {"requests", "revoke"}),
        (["policy", ""], {"effective"}),
        (["why", "--output", ""], {"table", "wide", "json", "yaml"}),
        (["why", "--output=j"], {"--output=json"}),
        (["nonsense", ""], set()),
        (["version", ""], set()),
    ],
)
def test_kubectl_is_answered_with_words_and_no_files(
    words: list[str], offered: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert completing.main(words) == 0
    *lines, directive = capsys.readouterr().out.splitlines()
    assert ({line.split("\t")[0] for line in lines}, directive) == (offered, ":4")


def test_where_a_file_is_expected_kubectl_offers_files(capsys: pytest.CaptureFixture[str]) -> None:
    completing.main(["inject", "-f", ""])
    assert capsys.readouterr().out == ":0\n"


@pytest.mark.parametrize(
    ("words", "source"),
    [
        (["why", ""], PODS),
        (["why", "-n", "shop", "ca"], PODS),
        (["why", "cart", ""], ""),
        (["policy", "effective", ""], PODS),
        (["diagnose", "a", "b", ""], PODS),
        (["certs", "a", ""], ""),
    ],
)
def test_places_are_counted_without_options_and_their_values(words: list[str], source: str) -> None:
    assert matching(words, grammars())[1].source == source


def test_every_verb_and_option_of_the_parser_is_in_every_script() -> None:
    known = grammars()
    assert set(known) == {*VERBS, "demo", "lab"}
    for text in (bash(known), zsh(known)):
        assert all(name in text for each in known.values() for option in each.options for name in option.names)
    assert all(f"-l {name[2:]}" in fish(known) for name in ("--expiring", "--offline", "--no-wait"))


async def test_names_of_pods_come_from_the_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def pods(request: web.Request) -> web.Response:
        assert "PartialObjectMetadata" in request.headers["Accept"], "their names alone"
        found = ["cart", "orders"] if request.match_info["namespace"] == "shop" else []
        return web.json_response({"items": [{"metadata": {"name": each}} for each in found]})

    async with serving([web.get("/api/v1/namespaces/{namespace}/pods", pods)]) as client:
        config = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": client.url}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        (tmp_path / "config").write_text(yaml.safe_dump(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        assert [word for word, _ in await _answered(["why", "-n", "shop", ""])] == ["cart", "orders"]
        assert [word for word, _ in await _answered(["certs", "--namespace=shop", "o"])] == ["orders"]
    assert await _answered(["why", "-n", "shop", ""]) == [], "nobody answers, and nobody is disturbed"


async def _answered(words: list[str]) -> list[tuple[str, str]]:
    """In a thread, as it has a loop of its own."""
    import asyncio

    return (await asyncio.to_thread(completing.answer, words))[0]
