"""`diagnose`: one file for whoever is asked for help, with all that tells how Handfast is and with no secret."""

import argparse
import asyncio
import contextlib
import io
import os
import sys
from datetime import UTC, datetime
from typing import Final

import aiohttp

from handfast_operator import __version__
from handfast_operator.cli.bundle import Bundle
from handfast_operator.cli.bundling import Asked, Bundling
from handfast_operator.cli.errors import USAGE, YES, CliError, told
from handfast_operator.cli.output import show, warn
from handfast_operator.cli.subject import parse_subject
from handfast_operator.cluster.client import ApiClient, ApiError

NAME: Final = "diagnose"
HELP: Final = "one file with objects, events, logs and metrics, and without secrets"
VERSION: Final = 1
COMMANDS: Final = ("check", "status", "certs", "edges", "version")
"""Verbs whose answers are in the bundle, as far as there are such verbs."""
PATIENCE_S: Final = 60.0
"""For one of them."""
_LINES: Final = 2000


def arguments(parser: argparse.ArgumentParser) -> None:
    """What is in it, and where it goes."""
    parser.add_argument(
        "sidecars",
        nargs="*",
        metavar="[NAMESPACE/]POD",
        help="whose sidecar's logs and metrics too; or deployment/NAME",
    )
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="policies and pods of all namespaces")
    parser.add_argument(
        "-f", "--file", default="", metavar="FILE", help="where to; - is standard output; default: handfast-TIME.tar.gz"
    )
    parser.add_argument("--lines", type=int, default=_LINES, metavar="N", help="of each log; default: %(default)s")


async def run(args: argparse.Namespace, client: ApiClient) -> int:
    """Exit code 0, also where something could not be read, which the bundle tells. Raises CliError, ApiError."""
    for each in args.sidecars:
        parse_subject(each, args.namespace)
    at = datetime.now(UTC)
    bundle = Bundle(at)
    namespace = "" if args.all_namespaces else args.namespace
    asked = Asked(args.operator_namespace, namespace, args.namespace, tuple(args.sidecars), max(1, args.lines))
    await Bundling(client, bundle, asked).run()
    await _commands(args, client, bundle)
    folder = f"handfast-{at:%Y%m%dT%H%M%SZ}"
    packed = bundle.packed(folder, {"version": VERSION, "client": __version__, "namespace": namespace or None})
    name = args.file or f"{folder}.tar.gz"
    _written(name, packed)
    if name != "-":
        document = {"version": VERSION, "file": name, "files": len(bundle.files), "missing": bundle.missing}
        show(args, document, lambda: f"{name}: {len(bundle.files)} files, {len(packed) // 1024 + 1} KiB, no secrets")
    if args.output in ("table", "wide") or name == "-":
        for what, why in sorted(bundle.missing.items()):
            warn(f"missing: {what}: {why}")
    return YES


def _written(name: str, packed: bytes) -> None:
    if name == "-":
        if sys.stdout.isatty():
            raise CliError("standard output is a terminal: send it into a file, or name one by --file", USAGE)
        sys.stdout.buffer.write(packed)
        return
    try:
        # Names and addresses are nobody else's affair.
        with os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(packed)
    except OSError as error:
        raise CliError(f"{name} cannot be written: {error.strerror}", USAGE) from error


async def _commands(args: argparse.Namespace, client: ApiClient, bundle: Bundle) -> None:
    """One after another: what they print is caught, and there is one standard output."""
    from handfast_operator.cli.main import VERBS, parsed  # noqa: PLC0415 - it knows the verbs, and loads us

    for name in COMMANDS:
        if name not in VERBS:
            continue
        common = ["-n", args.namespace, "--operator-namespace", args.operator_namespace, "-o", "json"]
        verb, chosen = parsed([name, *common])
        if args.all_namespaces and hasattr(chosen, "all_namespaces"):
            chosen.all_namespaces = True
        out, err = io.StringIO(), io.StringIO()
        code: int | None = None
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                async with asyncio.timeout(PATIENCE_S):
                    code = await verb.run(chosen, client)
        except CliError as error:
            code = error.code
            err.write(f"{error}\n")
        except ApiError as error:
            bundle.lack(f"commands/{name}.json", told(error, client.access))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            bundle.lack(f"commands/{name}.json", str(error) or type(error).__name__)
        except Exception as error:  # noqa: BLE001 - a mistake of one verb must not cost the whole bundle
            bundle.lack(f"commands/{name}.json", f"the verb failed: {type(error).__name__}: {error}")
        if out.getvalue():
            bundle.text(f"commands/{name}.json", out.getvalue())
        if err.getvalue():
            bundle.text(f"commands/{name}.stderr.txt", err.getvalue())
        if code is not None:
            bundle.text(f"commands/{name}.exit-code.txt", f"{code}\n")
