"""The lab's images: programs of this machine, under the names that manifests call them.

The one rule: an image name that is not listed is refused as a registry would refuse it, never guessed.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from handfast_lab.node.seams import ImageSpec

OPERATOR: Final = "handfast/operator"
SIDECAR: Final = "handfast/sidecar"
SHOP: Final = "handfast/shop"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Programs:
    """Images by repository; tags are of no account, there is one version of each."""

    def __init__(self, programs: Mapping[str, ImageSpec]) -> None:
        self._programs = programs

    def command(self, image: str) -> ImageSpec | None:
        """None: there is no such image."""
        return self._programs.get(repository(image))

    def resolve(self, image: str, command: list[str]) -> list[str]:
        """A command in a container: the last part of an image's name is the name of its program."""
        spec = self.command(image)
        if spec is None or command[0] != repository(image).rpartition("/")[2]:
            return command
        return [*spec.entrypoint, *command[1:]]


def repository(image: str) -> str:
    """The name without tag and digest."""
    name = image.partition("@")[0]
    path, slash, last = name.rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}"


def ours() -> dict[str, ImageSpec]:
    """Handfast's own two, with the users of their Dockerfiles, and the demo's shop."""
    return {
        OPERATOR: module("handfast_operator", 65532),
        SIDECAR: module("handfast_sidecar", 7443),
        SHOP: module("handfast_lab.demo.shop", 10001),
    }


def module(name: str, user: int) -> ImageSpec:
    """A Python module of this environment as an image."""
    return ImageSpec(
        entrypoint=(sys.executable, "-m", name),
        environment={"PATH": f"{Path(sys.executable).parent}:{_PATH}", "PYTHONUNBUFFERED": "1"},
        user=user,
        group=user,
    )


def module_file(program: Path) -> ImageSpec:
    """A Python program of this machine as an image."""
    return ImageSpec(
        entrypoint=(sys.executable, str(program)),
        environment={"PATH": f"{Path(sys.executable).parent}:{_PATH}", "PYTHONUNBUFFERED": "1"},
        user=10001,
        group=10001,
    )
