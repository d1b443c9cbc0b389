"""`handfast-sidecar VERB`: `init` writes the pod's rules and ends, `proxy` serves until SIGTERM. It only wires.

Exit codes: 0 ended as asked, 1 it could not be done, 2 unusable arguments or environment.
"""

import argparse
import logging
import os
from collections.abc import Sequence

from handfast_sidecar import __version__
from handfast_sidecar.errors import BadConfig, HandfastError
from handfast_sidecar.observe import logs
from handfast_sidecar.wellknown import ENV_LOG_LEVEL

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script."""
    parser = argparse.ArgumentParser(prog="handfast-sidecar", description="Handfast's data plane")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("verb", choices=["init", "proxy"])
    verb = parser.parse_args(arguments).verb
    logs.configure(os.environ.get(ENV_LOG_LEVEL, "info"))
    return init() if verb == "init" else proxy()


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
        await Proxy(Settings.from_environment(os.environ)).run()

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
