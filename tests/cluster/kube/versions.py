"""What the cluster is made of. A change here makes a new cache key, so nothing old is taken for it."""

import hashlib
from pathlib import Path

KUBERNETES = "1.36.3"
ETCD = "3.6.8"
CONTAINERD = "2.4.2"
RUNC = "1.5.2"
CNI_PLUGINS = "1.9.1"
COREDNS = "1.14.7"
HELM = "4.3.1"

DEBIAN_SUITE = "trixie"
BASE_IMAGE = "docker.io/library/debian:trixie-slim"
PAUSE_IMAGE = "registry.k8s.io/pause:3.10"

SOURCES = Path(__file__).parent / "sources"


def cache_key() -> str:
    """The versions and our own Go sources, as a name for a folder."""
    digest = hashlib.sha256()
    for version in (KUBERNETES, ETCD, CONTAINERD, RUNC, CNI_PLUGINS, COREDNS, HELM):
        digest.update(version.encode() + b"\0")
    for source in sorted(SOURCES.rglob("*.go")):
        digest.update(source.read_bytes())
    return f"kube-{KUBERNETES}-{digest.hexdigest()[:10]}"
