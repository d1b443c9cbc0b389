"""`handfast demo` and `handfast lab`: starts the lab in namespaces of its own, waits for it, and leaves nothing behind.

This half runs outside, as whoever typed it; `inside.py` is the other half. Exit codes: 0 ended as asked, 1 something
failed, 2 this machine cannot hold a lab, 130 interrupted.
"""

import argparse
import os
import secrets
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import Final

from handfast_lab.network import isolation
from handfast_sidecar import __version__

INTERRUPTED: Final = 130
CANNOT: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script."""
    chosen = _parser().parse_args(arguments)
    try:
        return _demo(chosen) if chosen.verb == "demo" else _lab(chosen)
    except isolation.CannotIsolate as problem:
        sys.stderr.write(f"handfast {chosen.verb}: {problem}\n")
        return CANNOT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="handfast", description="Mutual TLS between Kubernetes pods, without a mesh")
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    demo = verbs.add_parser("demo", help="see it work, on this machine, without a cluster")
    demo.add_argument("--step", action="store_true", help="wait for Enter before each step")
    demo.add_argument("--stay", action="store_true", help="keep it running at the end, to play with by kubectl")
    lab = verbs.add_parser("lab", help="an empty cluster to try things in, until Ctrl-C")
    lab.add_argument(
        "--kubeconfig", type=Path, required=True, metavar="FILE", help="written for kubectl, removed at the end"
    )
    lab.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="NAME=PROGRAM",
        help="a Python program of this machine that pods may run under this image name",
    )
    return parser


def _demo(chosen: argparse.Namespace) -> int:
    words = [option for option, wanted in (("--stay", chosen.stay), ("--step", chosen.step)) if wanted]
    if not chosen.stay:
        return _run("handfast_lab.demo.inside", words)
    kubeconfig = Path(gettempdir()) / f"handfast-demo-{secrets.token_hex(4)}.kubeconfig"
    return _run("handfast_lab.demo.inside", words, kubeconfig)


def _lab(chosen: argparse.Namespace) -> int:
    if chosen.kubeconfig.exists():
        raise isolation.CannotIsolate(f"{chosen.kubeconfig} exists: name another file, this one would be lost")
    return _run("handfast_lab.inside", [f"--image={each}" for each in chosen.image], chosen.kubeconfig.absolute())


def _run(module: str, words: Sequence[str], kubeconfig: Path | None = None) -> int:
    """Run the other half to its end, or until we are told to stop. The kubeconfig goes with it, however we end."""
    words = [*words, f"--kubeconfig={kubeconfig}"] if kubeconfig else words
    with socket.create_server(("127.0.0.1", 0), backlog=128) as outside:
        # A socket belongs to the network it was made in: by this one kubectl reaches the lab from the machine itself.
        command = [sys.executable, "-m", module, f"--listen={outside.fileno()}", *words]
        running = isolation.start(command, os.environ, keep=(outside.fileno(),))
    interrupted = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal interrupted
        interrupted = True
        running.let_go()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    code = running.wait()
    if kubeconfig is not None:
        kubeconfig.unlink(missing_ok=True)
    return INTERRUPTED if interrupted else code


if __name__ == "__main__":
    sys.exit(main())
