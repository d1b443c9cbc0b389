"""What a shell's Tab is answered with: `kubectl_complete-handfast`, which kubectl runs, and the hidden `__complete`.

The one rule: it never disturbs the line that is typed. What cannot be found out in two seconds is nothing, in silence.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from handfast_operator.cli.grammar import CONTEXTS, FILES, NAMESPACES, PODS, Grammar, Values, matching

PATIENCE_S: Final = 2.0
MOST: Final = "500"
"""Names that are asked for: nobody reads more at a prompt."""
_FILES: Final = ":0"
_NO_FILES: Final = ":4"
"""The last line that kubectl reads: Cobra's ShellCompDirectiveDefault and ShellCompDirectiveNoFileComp."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script `kubectl_complete-handfast`: kubectl gives it the words behind `kubectl handfast`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    found, files = answer(words)
    sys.stdout.write("".join(f"{word}\t{text}\n" if text else f"{word}\n" for word, text in found))
    sys.stdout.write(f"{_FILES if files else _NO_FILES}\n")
    return 0


def names(words: Sequence[str]) -> int:
    """`handfast __complete WORDS`, which the scripts of `handfast completion` run: one word a line."""
    found, _files = answer(list(words))
    sys.stdout.write("".join(f"{word}\n" for word, _text in found))
    return 0


def answer(words: Sequence[str]) -> tuple[list[tuple[str, str]], bool]:
    """Words with their help for the last one, and whether files fit there too."""
    from handfast_operator.cli.main import grammars  # noqa: PLC0415 - it knows the verbs, and calls us

    verb = next((each for each in words[:-1] if not each.startswith("-")), "")
    last = words[-1] if words else ""
    before, values, known = matching(words, grammars(verb))
    found = list(known)
    if values.asked:
        found += [(f"{before}{each}", "") for each in _asked(values, words)]
    return [each for each in found if each[0].startswith(last)], values.source == FILES


def _asked(values: Values, words: Sequence[str]) -> list[str]:
    try:
        args = _where(words)
        if values.source == CONTEXTS:
            return _contexts(args.kubeconfig)
        return asyncio.run(_named(values.source, args))
    except Exception:  # noqa: BLE001 - whatever it is, somebody is typing
        return []


def _where(words: Sequence[str]) -> argparse.Namespace:
    """The cluster that the words speak of so far."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    for option in (("-n", "--namespace"), ("--context",), ("--kubeconfig",)):
        parser.add_argument(*option, default="", nargs="?", const="")
    return parser.parse_known_args(list(words[:-1]))[0]


def _contexts(kubeconfig: str) -> list[str]:
    from handfast_operator.cluster.kubeconfig import context_names  # noqa: PLC0415 - where it is asked for

    named = kubeconfig or os.environ.get("KUBECONFIG", "")
    paths = [Path(each) for each in named.split(os.pathsep) if each]
    return context_names(paths or [Path.home() / ".kube" / "config"])


async def _named(source: str, args: argparse.Namespace) -> list[str]:
    from handfast_operator.cluster import kinds  # noqa: PLC0415 - aiohttp takes long to load
    from handfast_operator.cluster.access import find_users_access  # noqa: PLC0415
    from handfast_operator.cluster.client import ApiClient  # noqa: PLC0415

    access = find_users_access(os.environ, args.kubeconfig or "", args.context or "")
    paths: Mapping[str, str] = {
        NAMESPACES: kinds.NAMESPACES.path,
        PODS: kinds.PODS.within(args.namespace or access.namespace),
    }
    async with asyncio.timeout(PATIENCE_S), ApiClient.connect(access) as client:
        found = await client.get(paths[source], {"limit": MOST}, accept=kinds.METADATA_ONLY)
    return [str(each["metadata"]["name"]) for each in found.get("items") or ()]


if __name__ == "__main__":
    sys.exit(main())


__all__ = ["Grammar", "answer", "main", "names"]
