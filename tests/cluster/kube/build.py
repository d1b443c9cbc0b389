"""The cluster's binaries, from Go module sources.

A finished build is a folder with its final name: it is made under another name and renamed, so an interrupted build is
never taken for a finished one. What it had compiled is not lost, for Go keeps that in its own cache.
"""

import fcntl
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.kube import commands, versions
from cluster.kube.errors import BuildFailed
from cluster.kube.places import cache

log = logging.getLogger(__name__)

KUBE_NAMES = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)
SMALLER = ("-trimpath", "-ldflags", "-s -w")
CONTAINERD_COMMANDS = ("containerd", "containerd-shim-runc-v2", "ctr")
CNI_COMMANDS = ("main/bridge", "main/loopback", "ipam/host-local", "meta/portmap")


def binaries() -> Path:
    """The folder with all binaries, built first when this key has none (ten minutes on two cores)."""
    finished = cache() / versions.cache_key() / "bin"
    with locked(cache() / "build.lock"):
        if not finished.is_dir():
            _build(finished.parent)
    return finished


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process at a time; a dead one holds nothing."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(finished: Path) -> None:
    for leftover in finished.parent.glob("building-*"):
        shutil.rmtree(leftover)
    work = finished.parent / f"building-{os.getpid()}"
    target, sources = work / "bin", work / "src"
    target.mkdir(parents=True)
    sources.mkdir()
    environment = os.environ | {"GOFLAGS": "-mod=mod", "GOBIN": str(target), "GOWORK": "off"}
    for name, step in (
        ("Kubernetes and etcd", _kubernetes),
        ("containerd and CNI plugins", _containerd),
        ("runc", _runc),
        ("CoreDNS", _coredns),
        ("Helm", _helm),
        ("pause", _pause),
    ):
        began = time.monotonic()
        step(target, sources, environment)
        log.info("built %s in %.0f s", name, time.monotonic() - began)
    shutil.rmtree(sources)
    work.rename(finished)


def _kubernetes(target: Path, sources: Path, environment: dict[str, str]) -> None:
    """`go install` cannot build k8s.io/kubernetes: its go.mod asks for its staging modules at v0.0.0."""
    module = sources / "kube"
    module.mkdir()
    shutil.copy(versions.SOURCES / "kube" / "main.go", module)
    described = commands.build(
        ["go", "mod", "download", "-json", f"k8s.io/kubernetes@v{versions.KUBERNETES}"], cwd=module, env=environment
    )
    own = Path(json.loads(described)["GoMod"]).read_text()
    (module / "go.mod").write_text(go_mod(own))
    commands.build(["go", "mod", "tidy"], cwd=module, env=environment)
    _, minor, _ = versions.KUBERNETES.split(".")
    stamp = "-X k8s.io/component-base/version."
    flags = f"-s -w {stamp}gitVersion=v{versions.KUBERNETES} {stamp}gitMajor=1 {stamp}gitMinor={minor}"
    commands.build(
        ["go", "build", "-trimpath", "-ldflags", flags, "-o", target / "kube", "."], cwd=module, env=environment
    )
    for name in KUBE_NAMES:
        (target / name).symlink_to("kube")


def go_mod(kubernetes: str) -> str:
    """A go.mod with each staging module at its published version; `kubernetes`: the go.mod of k8s.io/kubernetes."""
    staging = sorted(set(re.findall(r"^\s*(k8s\.io/\S+) v0\.0\.0$", kubernetes, re.MULTILINE)))
    language = re.search(r"^go .*$", kubernetes, re.MULTILINE)
    if not staging or language is None:
        raise BuildFailed("the go.mod of k8s.io/kubernetes has another form than this code knows")
    published = "v0" + versions.KUBERNETES.removeprefix("1")
    replaced = "\n".join(f"\t{module} => {module} {published}" for module in staging)
    return (
        f"module handfast.dev/tests/kube\n\n{language.group()}\n\n"
        f"require k8s.io/kubernetes v{versions.KUBERNETES}\nrequire go.etcd.io/etcd/server/v3 v{versions.ETCD}\n\n"
        f"replace (\n{replaced}\n)\n"
    )


def _tools(name: str, packages: list[str], sources: Path, environment: dict[str, str]) -> None:
    """Install commands as the tools of a module of our own, so that all of them share one choice of dependencies."""
    module = sources / name
    module.mkdir()
    commands.build(["go", "mod", "init", f"handfast.dev/tests/{name}"], cwd=module, env=environment)
    commands.build(["go", "get", "-tool", *packages], cwd=module, env=environment)
    commands.build(["go", "install", *SMALLER, "tool"], cwd=module, env=environment)


def _containerd(_target: Path, sources: Path, environment: dict[str, str]) -> None:
    containerd = [
        f"github.com/containerd/containerd/v2/cmd/{name}@v{versions.CONTAINERD}" for name in CONTAINERD_COMMANDS
    ]
    plugins = [
        f"github.com/containernetworking/plugins/plugins/{name}@v{versions.CNI_PLUGINS}" for name in CNI_COMMANDS
    ]
    _tools("node", containerd + plugins, sources, environment)


def _runc(_target: Path, sources: Path, environment: dict[str, str]) -> None:
    """Without its seccomp tag runc refuses every pod that has the RuntimeDefault profile."""
    runc = f"github.com/opencontainers/runc@v{versions.RUNC}"
    commands.build(["go", "install", "-tags", "seccomp", *SMALLER, runc], cwd=sources, env=environment)


def _coredns(_target: Path, sources: Path, environment: dict[str, str]) -> None:
    _tools("coredns", [f"github.com/coredns/coredns@v{versions.COREDNS}"], sources, environment)


def _helm(_target: Path, sources: Path, environment: dict[str, str]) -> None:
    _tools("helm", [f"helm.sh/helm/v4/cmd/helm@v{versions.HELM}"], sources, environment)


def _pause(target: Path, _sources: Path, environment: dict[str, str]) -> None:
    source = versions.SOURCES / "pause" / "main.go"
    static = environment | {"CGO_ENABLED": "0"}
    commands.build(["go", "build", *SMALLER, "-o", target / "pause", source], cwd=target, env=static)
