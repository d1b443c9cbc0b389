"""`handfast-sidecar VERB`: `init` writes the pod's rules and ends, `proxy` serves until SIGTERM. It only wires.

Exit codes: 0 ended as asked, 1 it could not be done, 2 unusable arguments or environment.
"""

import logging
import os
import sys
from collections.abc import Sequence
from typing import Final

from handfast_sidecar import __version__
from handfast_sidecar.errors import BadCertificate, BadConfig, HandfastError
from handfast_sidecar.observe import logs
from handfast_sidecar.wellknown import ENV_LOG_LEVEL

log = logging.getLogger(__name__)

USAGE: Final = """\
usage: handfast-sidecar init | proxy | --version | --help

Handfast's data plane. init redirects the pod's traffic and ends; proxy serves until SIGTERM.
"""
"""Without argparse, which would stay in the memory of every pod for the sake of two words."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script."""
    match list(sys.argv[1:] if arguments is None else arguments):
        case ["init" | "proxy" as verb]:
            logs.configure(os.environ.get(ENV_LOG_LEVEL, "info"))
            return init() if verb == "init" else proxy()
        case ["--version"]:
            sys.stdout.write(f"{__version__}\n")
            return 0
        case ["--help" | "-h"]:
            sys.stdout.write(USAGE)
            return 0
        case _:
            sys.stderr.write(USAGE)
            return 2


def init() -> int:
    """Redirect the pod's traffic. Its imports stay small: every start of a pod waits for it."""
    from handfast_sidecar.config.skips import Skips  # noqa: PLC0415
    from handfast_sidecar.interception.init import run_init  # noqa: PLC0415
    from handfast_sidecar.interception.rules import RulesOptions  # noqa: PLC0415

    try:
        return run_init(RulesOptions(skips=Skips.from_environment(os.environ)))
    except BadConfig as error:
        log.error("the pod's traffic cannot be intercepted", extra={"detail": str(error)})
        return 2


def proxy() -> int:
    """Serve."""
    import asyncio  # noqa: PLC0415

    from handfast_sidecar.loop.poller import new_event_loop  # noqa: PLC0415
    from handfast_sidecar.proxy import Proxy  # noqa: PLC0415
    from handfast_sidecar.settings import Settings  # noqa: PLC0415

    async def serve() -> None:
        settings = Settings.from_environment(os.environ)
        sidecar: Proxy | None = None
        while sidecar is None:
            try:
                sidecar = Proxy(settings)
            except (BadCertificate, BadConfig) as error:
                from handfast_sidecar.waiting import until_usable  # noqa: PLC0415

                if not await until_usable(settings, error):
                    return
        await sidecar.run()

    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(serve())
    except BadConfig as error:
        log.error("the sidecar cannot start", extra={"detail": str(error)})
        return 2
    except (HandfastError, OSError) as error:
        log.error("the sidecar cannot go on", extra={"detail": str(error)})
        return 1
    return 0
