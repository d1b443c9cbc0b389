"""A cluster from nothing to ready, and back to nothing."""

import logging
import shutil
import time
from pathlib import Path

from cluster.kube import control_plane, images, node, packages, sandbox
from cluster.kube.build import binaries
from cluster.kube.client import Kubectl
from cluster.kube.images import Images
from cluster.kube.parts import Parts
from cluster.kube.places import KUBECONFIG, LOGS, OUTSIDE, STATE
from cluster.kube.sandbox import Sandbox
from cluster.kube.variant import DEFAULT, Variant

log = logging.getLogger(__name__)


def up(variant: Variant = DEFAULT, *, keep: bool) -> Sandbox:
    """Build what is missing and start everything; on an error nothing stays, and the logs are where the error says.

    `keep`: the cluster outlives this process, until `down`.
    """
    packages.require_machine()
    sandbox.refuse_to_replace_a_living_one()  # before ten minutes of building
    built = binaries()
    created = Sandbox.create(built, variant, keep=keep)
    try:
        _start(created, built, variant)
    except BaseException:
        if STATE.exists():
            shutil.copytree(STATE / "logs", LOGS / "start", dirs_exist_ok=True)
            log.error("the cluster did not start; its logs are in %s", LOGS / "start")
        created.end()
        raise
    return created


def _start(created: Sandbox, built: Path, variant: Variant) -> None:
    began = time.monotonic()
    parts = Parts(created)
    credentials = control_plane.start(parts, built, node.NAME, variant)
    log.info("control plane ready after %.1f s", time.monotonic() - began)
    node.start_containerd(parts)
    node.start(parts, credentials, variant)
    kubectl = Kubectl(KUBECONFIG, built)
    parts.wait("the DNS Service", lambda: kubectl.apply(node.dns_service()))
    ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    parts.wait("the node", lambda: kubectl("get", "node", node.NAME, "-o", ready) == "True")
    parts.wait("a service account", lambda: kubectl("get", "serviceaccount", "default"))
    log.info("node ready after %.1f s", time.monotonic() - began)


def load(into: Sandbox) -> Images:
    """Build our images from the work tree and put them into the cluster; what is unchanged costs seconds."""
    built = images.build_all()
    images.load(into, built)
    _remember(built)
    return built


def down() -> None:
    """End the cluster on this machine, if there is one, and remove what it made."""
    sandbox.destroy()


def loaded() -> Images | None:
    """The images that the last `load` put into the cluster of this machine."""
    record = OUTSIDE / "images"
    return Images(*record.read_text().split()) if record.exists() else None


def _remember(built: Images) -> None:
    (OUTSIDE / "images").write_text(f"{built.operator} {built.sidecar} {built.apps}\n")
