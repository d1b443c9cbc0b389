"""The command as a function: parse, open a session, run the verb, turn refusals into words and an exit code."""

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from importlib import import_module
from typing import Final, TextIO

from handfast_lab.kubectl.arguments import parse
from handfast_lab.kubectl.refusals import Refusal, Several, Stop, words
from handfast_lab.kubectl.session import Session, open_session

_VERBS: Final = {
    "get": "getting:get",
    "apply": "applying:apply",
    "create": "creating:create",
    "delete": "deleting:delete",
    "wait": "waiting:wait",
    "rollout": "rollout:rollout",
    "scale": "changing:scale",
    "label": "changing:label",
    "annotate": "changing:annotate",
    "patch": "changing:patch",
    "logs": "pods:logs",
    "exec": "executing:execute",
    "describe": "describing:describe",
    "version": "about:version",
    "api-resources": "about:api_resources",
    "auth": "about:auth",
}
"""Module and function; imported when they are wanted, as a test run starts this program hundreds of times."""


def _plugin(word: str, environment: Mapping[str, str]) -> str | None:
    """The program in PATH that is this verb, as kubectl looks for it; our own verbs cannot be replaced."""
    if word in _VERBS or not word.isidentifier():
        return None
    return shutil.which(f"kubectl-{word}", path=environment.get("PATH"))


def main(
    arguments: Sequence[str], environment: Mapping[str, str], stdin: TextIO, stdout: TextIO, stderr: TextIO
) -> int:
    """`kubectl ARGUMENTS`: its exit code."""
    try:
        if arguments and (program := _plugin(arguments[0], environment)):
            return subprocess.run([program, *arguments[1:]], env=dict(environment), check=False).returncode
        line = parse(arguments)
        module, function = _VERBS[line.verb].split(":")
        run: Callable[[Session], int | None] = getattr(import_module(f"handfast_lab.kubectl.{module}"), function)
        session = open_session(line, environment, stdin, stdout, stderr)
        with closing(session.server):
            return run(session) or 0
    except (Stop, Refusal, Several) as problem:
        if said := words(problem):
            stderr.write(f"{said}\n")
        return problem.code if isinstance(problem, Stop) else 1
