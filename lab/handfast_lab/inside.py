"""`handfast lab`, inside its namespaces: an empty cluster until the lifeline closes."""

import argparse
import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from handfast_lab.api.problems import ApiProblem
from handfast_lab.images import module_file, repository
from handfast_lab.lab import Lab
from handfast_lab.network.commands import CommandFailed
from handfast_lab.network.isolation import LIFELINE
from handfast_sidecar.errors import leaves


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `handfast_lab.main` passes on."""
    parser.add_argument("--listen", type=int, required=True, help="descriptor of a socket in the machine's own network")
    parser.add_argument("--kubeconfig", type=Path)


def main() -> int:
    """Ends with the lifeline."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    parser.add_argument("--image", action="append", default=[])
    return run(_stay(parser.parse_args()))


def run(lab: Coroutine[Any, Any, int]) -> int:
    """Run a lab to its end; 1, with the sentence of whatever failed, when a part of it did."""
    try:
        return asyncio.run(lab)
    except* (CommandFailed, OSError, ApiProblem) as group:
        for problem in leaves(group):
            sys.stderr.write(f"the lab ends, because a part of it failed: {problem}\n")
    return 1


async def _stay(chosen: argparse.Namespace) -> int:
    further = dict(each.split("=", 1) for each in chosen.image)
    images = {repository(name): module_file(Path(program)) for name, program in further.items()}
    try:
        async with Lab.running(chosen.listen, kubeconfig=chosen.kubeconfig, images=images):
            sys.stdout.write(f"The lab is ready. In another terminal: export KUBECONFIG={chosen.kubeconfig}\n")
            sys.stdout.flush()
            await lifeline()
    finally:
        forget(chosen.kubeconfig)
    return 0


def forget(kubeconfig: Path | None) -> None:
    """It leads nowhere any more. Also the one who started us removes it, unless he was killed."""
    if kubeconfig is not None:
        kubeconfig.unlink(missing_ok=True)


async def lifeline() -> None:
    """Until whoever started the lab lets go of it, or is gone."""
    reading = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    with os.fdopen(int(os.environ[LIFELINE]), "rb", buffering=0) as pipe:
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reading), pipe)
        try:
            await reading.read()
        finally:
            transport.close()


if __name__ == "__main__":
    sys.exit(main())
