"""`handfast-operator VERB`: reads the settings, starts a role, and turns errors into exit codes. It only wires.

Exit codes: 0 ended as asked, 1 a role failed, 2 unusable arguments or settings.
"""

import argparse
import asyncio
import gc
import importlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import aiohttp

from handfast_operator import __version__
from handfast_operator.cluster.client import ApiError
from handfast_operator.settings import Settings
from handfast_sidecar.errors import BadConfig, HandfastError, leaves
from handfast_sidecar.observe import logs

log = logging.getLogger(__name__)

ROLES: Final = {"controller": "controller.server", "webhook": "admission.server", "directory": "directory.server"}
"""Each role and the module whose `run` it is; imported when asked for, so no role pays for another's memory."""
VERBS: Final = {**ROLES, "test": "release_test"}
"""What can be run: the roles, and what `helm test` runs, which ends by itself."""
COLLECT_AT: Final = 50_000
"""New objects after which cycles are looked for. A page of a list is made of a hundred thousand that are gone with it:
with Python's own 700 a third of the time that a list takes is spent on looking in vain."""
STOP_S: Final = 20
"""Seconds that a role may take to drain: kubelet's patience ends after 30."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script."""
    parser = argparse.ArgumentParser(prog="handfast-operator", description="Handfast's control plane")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "role",
        choices=[*VERBS, "all"],
        help="`all` runs the three roles as processes of one container; `test` is what `helm test` runs",
    )
    role = parser.parse_args(arguments).role
    logs.configure(os.environ.get("HANDFAST_LOG_LEVEL", "info"))
    try:
        settings = Settings.from_environment(os.environ)
    except BadConfig as error:
        log.error("unusable settings", extra={"detail": str(error)})
        return 2
    return run_all() if role == "all" else run_role(role, settings)


def run_role(role: str, settings: Settings) -> int:
    """Run one role until SIGTERM or its failure."""
    run: Callable[[Settings], Awaitable[None]] = importlib.import_module(f"handfast_operator.{VERBS[role]}").run
    gc.set_threshold(COLLECT_AT)
    log.info("starting", extra={"role": role, "version": __version__, "trust_domain": settings.trust_domain})
    failed = False
    try:
        asyncio.run(_until_stopped(run(settings)))
    except* (HandfastError, ApiError, aiohttp.ClientError, OSError) as group:
        failed = True
        for error in leaves(group):
            log.error("stopped by an error", extra={"role": role, "detail": str(error) or type(error).__name__})
    return int(failed)


async def _until_stopped(running: Awaitable[None]) -> None:
    """Cancel the role on SIGTERM or SIGINT: it drains in its own `finally`."""
    task = asyncio.ensure_future(running)
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        log.info("stopped")


def run_all() -> int:
    """The three roles as child processes: they must not share a fate, but a container has one, so one end ends all."""
    children = {role: subprocess.Popen([sys.executable, "-m", "handfast_operator", role]) for role in ROLES}
    stopping = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True
        for child in children.values():
            child.terminate()

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
    ended, code = _first_end(children)
    asked = stopping
    if not asked:
        log.error("a role ended, stopping the others", extra={"role": ended, "exit_code": code})
        stop(0, None)
    codes = [code, *(_end(child) for role, child in children.items() if role != ended)]
    return 0 if asked and not any(codes) else 1


def _first_end(children: Mapping[str, subprocess.Popen[bytes]]) -> tuple[str, int]:
    """Wait for a role to end; as the first process of a container we also inherit the orphans of others."""
    while True:
        pid, status = os.wait()
        for role, child in children.items():
            if child.pid == pid:
                child.returncode = os.waitstatus_to_exitcode(status)
                return role, child.returncode


def _end(child: subprocess.Popen[bytes]) -> int:
    """The exit code of a role that was asked to end, and is killed when it does not."""
    try:
        return child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()
