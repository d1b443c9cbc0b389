"""`handfast VERB`, and as a plugin `kubectl handfast VERB`: finds the verb, the cluster, and the words for failures.

The one rule: only the module of the verb that is asked for is loaded, so that an answer takes well under a second.
"""

import argparse
import asyncio
import importlib
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from handfast_operator import __version__

if TYPE_CHECKING:
    from handfast_operator.cli.grammar import Grammar
    from handfast_operator.cluster.access import Access

VERBS: Final = (
    "check",
    "status",
    "why",
    "edges",
    "policy",
    "requests",
    "approve",
    "deny",
    "revoke",
    "certs",
    "rotate",
    "inject",
    "uninject",
    "diagnose",
    "completion",
    "version",
)
"""Each is a module of this package: `NAME`, `HELP`, `arguments(parser)`, `async run(args, client) -> exit code`.

One that can do without a cluster has `without_cluster(args) -> bool` too: where that is true no kubeconfig is looked
for, and `client` is None."""
LAB_VERBS: Final = {
    "demo": "see it work, on this machine, without a cluster",
    "lab": "an empty cluster to try things in, until Ctrl-C",
}
"""Verbs of the package of the lab, which this one may not import: by name, and only when they are asked for."""
_COMPLETE: Final = "__complete"
"""What the scripts of `completion` ask for names; nobody types it."""
_LAB: Final = "handfast_lab"
_LABS_OWN: Final = "trustme"
"""A package of the extra `lab` alone."""


class Verb(Protocol):
    """What a verb's module has."""

    NAME: str
    HELP: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Any], Coroutine[Any, Any, int]]


def main(arguments: Sequence[str] | None = None) -> int:
    """The console scripts `handfast` and `kubectl-handfast`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in LAB_VERBS:
        return _lab(words)
    if words and words[0] == _COMPLETE:
        from handfast_operator.cli.completing import names  # noqa: PLC0415 - where a shell asks for it

        return names(words[1:])
    try:
        code = _verb(words)
        sys.stdout.flush()
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("handfast_"):
            raise
        sys.stderr.write(f"handfast: {missing.name} is not installed: pip install 'handfast[operator]'\n")
        return 2
    except BrokenPipeError:
        # `... | head`: who reads has seen enough, and the interpreter must not flush into the closed pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return code


def _lab(words: list[str]) -> int:
    if find_spec(_LAB) is None or find_spec(_LABS_OWN) is None:
        sys.stderr.write(f"handfast {words[0]}: the lab is not installed: pip install 'handfast[lab]'\n")
        return 2
    run: Callable[[Sequence[str]], int] = importlib.import_module(f"{_LAB}.main").main
    return run(words)


def _verb(words: list[str]) -> int:
    chosen = words[:1] if words and words[0] in VERBS else list(VERBS)
    verbs = {name: _load(name) for name in chosen}
    args = _parser(verbs).parse_args(words)
    # Loaded by the verb already; not at the top, so that what is missing can be told.
    from handfast_operator.cli.errors import UNKNOWN, CliError  # noqa: PLC0415
    from handfast_operator.cluster.access import NoAccess, find_users_access  # noqa: PLC0415

    try:
        if getattr(verbs[args.verb], "without_cluster", _never)(args):
            return asyncio.run(_interruptible(verbs[args.verb].run(args, None)))
        access = find_users_access(os.environ, args.kubeconfig, args.context)
        args.namespace = args.namespace or access.namespace
        return asyncio.run(_interruptible(_run(verbs[args.verb], args, access)))
    except NoAccess as problem:
        sys.stderr.write(f"handfast {args.verb}: {problem}\n")
        return UNKNOWN
    except CliError as problem:
        sys.stderr.write(f"handfast {args.verb}: {problem}\n")
        return problem.code


def _never(_args: argparse.Namespace) -> bool:
    return False


async def _interruptible(work: Coroutine[Any, Any, int]) -> int:
    from handfast_operator.cli.interrupting import heard  # noqa: PLC0415 - as above

    with heard():
        return await work


async def _run(verb: Verb, args: argparse.Namespace, access: "Access") -> int:
    import aiohttp  # noqa: PLC0415 - as above

    from handfast_operator.cli.errors import CliError, told, unreachable  # noqa: PLC0415
    from handfast_operator.cluster.client import ApiClient, ApiError  # noqa: PLC0415

    try:
        async with ApiClient.connect(access) as client:
            return await verb.run(args, client)
    except ApiError as error:
        raise CliError(told(error, access)) from error
    except BrokenPipeError:
        raise
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise CliError(unreachable(error, access)) from error


def parsed(words: list[str]) -> tuple[Verb, argparse.Namespace]:
    """A verb with what is asked of it, for a verb that runs others."""
    verb = _load(words[0])
    return verb, _parser({words[0]: verb}).parse_args(words)


def grammars(verb: str | None = None) -> dict[str, "Grammar"]:
    """What may be typed, by verb: of this verb in full, of the others no more than their names; of all without one."""
    from handfast_operator.cli.grammar import Grammar, grammar_of  # noqa: PLC0415 - for completion alone

    found: dict[str, Grammar] = {}
    for name in VERBS:
        if verb not in (None, name):
            found[name] = Grammar(name, "")
            continue
        module = _load(name)
        parser = argparse.ArgumentParser(parents=[_common()])
        module.arguments(parser)
        found[name] = grammar_of(name, module.HELP, parser)
    return found | {name: Grammar(name, text) for name, text in LAB_VERBS.items()}


def _load(name: str) -> Verb:
    return cast("Verb", importlib.import_module(f"handfast_operator.cli.{name}"))


def _parser(verbs: dict[str, Verb]) -> argparse.ArgumentParser:
    plugin = Path(sys.argv[0]).name.startswith("kubectl-")
    parser = argparse.ArgumentParser(
        prog="kubectl handfast" if plugin else "handfast",
        description="Mutual TLS between Kubernetes pods, without a mesh",
        epilog="Exit codes: 0 yes, or shown; 1 no, it is refused; 2 not understood; 3 it cannot be found out.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    common = _common()
    for verb in verbs.values():
        verb.arguments(subparsers.add_parser(verb.NAME, help=verb.HELP, description=verb.HELP, parents=[common]))
    for name, text in LAB_VERBS.items():
        subparsers.add_parser(name, help=text)
    return parser


def _common() -> argparse.ArgumentParser:
    """Options that every verb has."""
    common = argparse.ArgumentParser(add_help=False)
    group = common.add_argument_group("cluster and output")
    group.add_argument("-n", "--namespace", default="", help="default: the context's")
    group.add_argument("--context", default="", help="of the kubeconfig; default: its current one")
    group.add_argument("--kubeconfig", default="", metavar="FILE", help="default: KUBECONFIG, or ~/.kube/config")
    group.add_argument(
        "--operator-namespace",
        default=os.environ.get("HANDFAST_NAMESPACE") or "handfast-system",
        metavar="NAMESPACE",
        help="where Handfast is installed; default: %(default)s",
    )
    group.add_argument(
        "-o", "--output", default="table", choices=("table", "wide", "json", "yaml"), help="default: %(default)s"
    )
    return common


if __name__ == "__main__":
    sys.exit(main())
