"""Images: a Debian base and our own Dockerfiles, built here (no image registry is asked) and imported into containerd.

The Dockerfiles say nothing of how this machine reaches package registries: its settings are mounted while they build.
"""

import hashlib
import io
import json
import logging
import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster.kube import commands, versions
from cluster.kube.build import binaries, locked
from cluster.kube.errors import BuildFailed, MachineUnfit
from cluster.kube.node import ctr
from cluster.kube.places import REPOSITORY, STATE, cache
from cluster.kube.sandbox import Sandbox

log = logging.getLogger(__name__)

APPS = Path(__file__).parents[1] / "apps"
PREVIOUS = Path(__file__).parents[1] / "previous"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BASE_RECIPE = 1
"""Raised when the base is made in another way, so that a cached one is made anew."""
MOST_LAYERS = 400
"""In the store of built layers: some fifty builds. More, and the store is begun anew, for nothing else empties it."""
SLIM = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


@dataclass(frozen=True, slots=True)
class Images:
    """References of built images; a new build of changed code has a new tag, so that a Deployment notices."""

    operator: str
    sidecar: str
    apps: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """One image of ours."""

    name: str
    dockerfile: Path
    context: Path
    target: str = ""
    """The stage that is wanted, where that is not the last one."""


RECIPES = (
    Recipe("handfast-operator", REPOSITORY / "Dockerfile.operator", REPOSITORY),
    Recipe("handfast-sidecar", REPOSITORY / "Dockerfile.sidecar", REPOSITORY),
    Recipe("handfast-apps", APPS / "Dockerfile", APPS),
)


def build_all() -> Images:
    """Build our three images; layers that did not change come from the store in the cache."""
    return Images(*_built(RECIPES))


def build_previous(apps: str) -> Images:
    """The images of the release before this one, and the test applications that there are."""
    stages = ("operator", "sidecar")
    recipes = (Recipe(f"handfast-previous-{each}", PREVIOUS / "Dockerfile", PREVIOUS, each) for each in stages)
    operator, sidecar = _built(recipes)
    return Images(operator, sidecar, apps)


def _built(recipes: Iterable[Recipe]) -> list[str]:
    with locked(cache() / "images.lock"), TemporaryDirectory() as scratch:
        _empty_full_store(cache() / "store")
        builder = Builder(Path(scratch))
        builder.have_base(base_image())
        return [builder.build(recipe) for recipe in recipes]


def load(sandbox: Sandbox, images: Images) -> None:
    """Put images into the cluster's containerd, with the pause image that every pod needs; those it has are skipped."""
    present = set(ctr(sandbox, "images", "ls", "-q").split())
    with TemporaryDirectory(dir=STATE / "var-lib") as scratch:
        archive = Path(scratch) / "image.tar"
        inside = Path("/var/lib") / archive.relative_to(STATE / "var-lib")
        if versions.PAUSE_IMAGE not in present:
            pause = pack({"pause": binaries() / "pause"})
            archive.write_bytes(wrap(pause, versions.PAUSE_IMAGE, ["/pause"]))
            ctr(sandbox, "images", "import", str(inside))
        with locked(cache() / "images.lock"):
            builder = Builder(Path(scratch))
            for image in (images.operator, images.sidecar, images.apps):
                if image not in present:
                    archive.unlink(missing_ok=True)
                    builder.export(image, archive)
                    ctr(sandbox, "images", "import", str(inside))


def _empty_full_store(store: Path) -> None:
    layers = store / "overlay"
    if layers.is_dir() and sum(1 for _ in layers.iterdir()) > MOST_LAYERS:
        shutil.rmtree(store)


class Builder:
    """buildah with a store of its own in our cache, so that it neither sees nor fills the machine's."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._policy = scratch / "policy.json"
        self._policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        store = cache() / "store"
        self._global = ["buildah", f"--root={store}", f"--runroot={scratch / 'run'}"]

    def have_base(self, archive: Path) -> None:
        """The base image under the name that our Dockerfiles start from."""
        marker = cache() / "store" / f"{archive.stem}.imported"
        if not marker.exists():
            self._buildah("pull", f"--signature-policy={self._policy}", f"docker-archive:{archive}")
            marker.touch()

    def build(self, recipe: Recipe) -> str:
        """Its reference: the tag is the image's own digest."""
        began = time.monotonic()
        identity = self._scratch / f"{recipe.name}.id"
        with registry_settings(self._scratch / "settings") as mounts:
            self._buildah(
                "build",
                "--layers",
                "--isolation=chroot",
                "--network=host",
                "--pull-never",
                f"--signature-policy={self._policy}",
                f"--iidfile={identity}",
                *([f"--target={recipe.target}"] if recipe.target else []),
                *mounts,
                f"--file={recipe.dockerfile}",
                str(recipe.context),
            )
        digest = identity.read_text().removeprefix("sha256:")
        reference = f"localhost/{recipe.name}:{digest[:12]}"
        self._buildah("tag", digest, reference)
        log.info("built %s in %.0f s", reference, time.monotonic() - began)
        return reference

    def export(self, reference: str, archive: Path) -> None:
        """Write it as a file that `ctr images import` reads."""
        self._buildah("push", f"--signature-policy={self._policy}", reference, f"docker-archive:{archive}:{reference}")

    def _buildah(self, *words: str) -> str:
        return commands.build([*self._global, *words], cwd=self._scratch)


@contextmanager
def registry_settings(folder: Path) -> Iterator[list[str]]:
    """buildah's flags that let pip and apt inside a build reach what they reach on this machine."""
    folder.mkdir(exist_ok=True)
    bundle = os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt"
    lines = ["[global]", "disable-pip-version-check = true"]
    if Path(bundle).exists():
        shutil.copy(bundle, folder / "ca.crt")
        lines.append("cert = /run/handfast-build/ca.crt")
    settings = subprocess.run(
        ["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    chosen = dict(
        re.findall(r"^(?:global|:env:)\.(index-url|extra-index-url|trusted-host)='(.*)'$", settings, re.MULTILINE)
    )
    lines += [f"{name} = {value}" for name, value in chosen.items()]
    (folder / "pip.conf").write_text("\n".join(lines) + "\n")
    (folder / "apt.conf").write_text(apt_settings())
    yield [
        f"--volume={folder}:/run/handfast-build:ro",
        f"--volume={folder / 'pip.conf'}:/etc/pip.conf:ro",
        f"--volume={folder / 'apt.conf'}:/etc/apt/apt.conf.d/90handfast-build:ro",
    ]


def apt_settings() -> str:
    """How apt here reaches and trusts its archive: proxies and checks, none of its folders."""
    dumped = commands.run(["apt-config", "dump", "Acquire"])
    return "".join(f"{line}\n" for line in dumped.splitlines() if re.match(r"Acquire::(http|https|Check-)", line))


def base_image() -> Path:
    """Debian as its own slim image has it, as an archive with the name that Dockerfiles ask for; made once."""
    finished = cache() / f"base-{versions.DEBIAN_SUITE}-{BASE_RECIPE}.tar"
    if finished.exists():
        return finished
    began = time.monotonic()
    with TemporaryDirectory(dir=cache()) as scratch:
        layer, options = Path(scratch) / "layer.tar", Path(scratch) / "apt.conf"
        options.write_text(apt_settings())
        without = [f"--dpkgopt=path-exclude={pattern}" for pattern in SLIM]
        commands.build(
            [
                "mmdebstrap",
                "--variant=minbase",
                f"--aptopt={options}",
                *without,
                versions.DEBIAN_SUITE,
                layer,
                archive_url(),
            ],
            cwd=Path(scratch),
        )
        made = Path(scratch) / "base.tar"
        made.write_bytes(wrap(layer.read_bytes(), versions.BASE_IMAGE, ["bash"]))
        made.rename(finished)
    log.info("made %s in %.0f s", versions.BASE_IMAGE, time.monotonic() - began)
    return finished


def archive_url() -> str:
    """The Debian archive this machine uses itself."""
    for listing in sorted(Path("/etc/apt").rglob("*.sources")) + sorted(Path("/etc/apt").rglob("*.list")):
        found = re.search(r"^(?:URIs:|deb(?:\s+\[.*?\])?)\s*(\S*debian/?)(?:\s|$)", listing.read_text(), re.MULTILINE)
        if found:
            return found.group(1)
    raise MachineUnfit("no Debian archive in /etc/apt to make the base image from")


def pack(files: dict[str, Path]) -> bytes:
    """A layer of executables."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        for name, path in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = path.stat().st_size, 0o755
            with path.open("rb") as content:
                archive.addfile(entry, content)
    return layer.getvalue()


def wrap(layer: bytes, reference: str, command: list[str]) -> bytes:
    """An image of one layer, in the archive format of `docker save`."""
    digest = hashlib.sha256(layer).hexdigest()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine)
    if machine is None:
        raise BuildFailed(f"no image architecture is known for a {os.uname().machine} machine")
    config = json.dumps(
        {
            "architecture": machine,
            "os": "linux",
            "config": {"Cmd": command, "Env": [PATH]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created_by": "handfast tests/cluster"}],
        }
    ).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps([{"Config": name, "RepoTags": [reference], "Layers": [f"{digest}.tar"]}]).encode()
    wrapped = io.BytesIO()
    with tarfile.open(fileobj=wrapped, mode="w") as archive:
        for path, content in ((name, config), (f"{digest}.tar", layer), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return wrapped.getvalue()
