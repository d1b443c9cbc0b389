"""A cluster that stays, or one for a command: `python -m cluster up | load | down | build | run COMMAND`."""

import argparse
import logging
import os
import subprocess
import sys

from cluster.kube import build, images, lifecycle, packages, provided, release, sandbox
from cluster.kube.client import Kubectl
from cluster.kube.errors import ClusterError
from cluster.kube.places import KUBECONFIG
from cluster.kube.variant import DEFAULT, VARIANTS, Variant


def main() -> int:
    """Exit code 1, with one sentence, when it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m cluster", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    ups = verbs.add_parser("up", help="build and start a cluster that stays until `down`")
    ups.add_argument("--variant", choices=VARIANTS, default=DEFAULT.name)
    verbs.add_parser("load", help="build our images, import them, install or upgrade the chart")
    verbs.add_parser("down", help="end the cluster and remove all it made")
    verbs.add_parser("build", help="build Kubernetes and our images into the cache; no cluster is needed")
    runs = verbs.add_parser("run", help="start a cluster with Handfast, run a command on it, end the cluster")
    runs.add_argument("--variant", choices=VARIANTS, default=DEFAULT.name)
    runs.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    verbs.add_parser("helm", help="our own build of Helm, for a chart that needs no cluster", add_help=False)
    arguments, words = parser.parse_known_args()
    if words and arguments.verb != "helm":
        parser.error(f"what is {' '.join(words)}?")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        match arguments.verb:
            case "helm":
                return helm(words)
            case "up":
                return up(VARIANTS[arguments.variant])
            case "run":
                return run(VARIANTS[arguments.variant], arguments.words)
            case verb:
                return VERBS[verb]()
    except ClusterError as error:
        print(f"handfast cluster: {error}", file=sys.stderr)  # noqa: T201
        return 1


def up(variant: Variant) -> int:
    """Start, or say where the one is that runs already."""
    if sandbox.Sandbox.running() is None:
        lifecycle.up(variant, keep=True)
    print(f"export HANDFAST_KUBECONFIG={KUBECONFIG} KUBECONFIG={KUBECONFIG}")  # noqa: T201
    return 0


def run(variant: Variant, words: list[str]) -> int:
    """The command's own exit code; it finds the cluster by HANDFAST_KUBECONFIG."""
    with provided.started(variant) as started:
        started.release().install()
        return subprocess.run(words, env={**os.environ, "HANDFAST_KUBECONFIG": str(KUBECONFIG)}, check=False).returncode


def load() -> int:
    """Images and chart, as they are in the work tree."""
    running = sandbox.Sandbox.running()
    if running is None:
        raise ClusterError("no cluster is running: `make cluster-up` first")
    built = lifecycle.load(running)
    tell(built)
    release.HelmRelease(Kubectl(KUBECONFIG), built).install()
    return 0


def down() -> int:
    """Also after a run that was killed."""
    lifecycle.down()
    return 0


def build_all() -> int:
    """What a cluster needs; needs root, as buildah mounts layers."""
    packages.require_machine()
    build.binaries()
    tell(images.build_all())
    return 0


def helm(words: list[str]) -> int:
    """Helm's own exit code."""
    packages.require_machine()
    return subprocess.run([build.binaries() / "helm", *words], check=False).returncode


def tell(built: images.Images) -> None:
    """In the form of the variables that tests on another cluster read."""
    print(f"export HANDFAST_OPERATOR_IMAGE={built.operator}")  # noqa: T201
    print(f"export HANDFAST_SIDECAR_IMAGE={built.sidecar}")  # noqa: T201
    print(f"export HANDFAST_APPS_IMAGE={built.apps}")  # noqa: T201


VERBS = {"load": load, "down": down, "build": build_all}

if __name__ == "__main__":
    sys.exit(main())
