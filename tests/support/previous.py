"""The release before this one, unpacked: its programs as they were released, with the packages of this environment."""

import compileall
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zipfile import ZipFile

RELEASED: Final = Path(__file__).parents[1] / "cluster" / "previous"
_START: Final = 'import runpy\n\nrunpy.run_module("{module}", run_name="__main__", alter_sys=True)\n'
"""Python runs a directory by its __main__.py, and looks for modules there before it looks anywhere else."""


@dataclass(frozen=True, slots=True)
class Previous:
    """What a user of it has."""

    version: str
    operator: Path
    """A directory that Python runs: `python DIRECTORY controller`."""
    sidecar: Path
    """The same: `python DIRECTORY proxy`."""
    manifest: str
    """The chart as the lab installs it."""


def released(pattern: str) -> Path:
    """The one file of that release; there are a wheel and a chart."""
    [found] = RELEASED.glob(pattern)
    return found


def unpack(folder: Path) -> Previous:
    """Unpack the wheel below a folder that every user may read."""
    wheel = released("*.whl")
    programs = {}
    with ZipFile(wheel) as archive:
        for part, packages in {
            "operator": ("handfast_operator/", "handfast_sidecar/"),
            "sidecar": ("handfast_sidecar/",),
        }.items():
            programs[part] = folder / part
            archive.extractall(programs[part], [each for each in archive.namelist() if each.startswith(packages)])
            (programs[part] / "__main__.py").write_text(_START.format(module=f"handfast_{part}"))
        manifest = archive.read("handfast_lab/install/handfast.yaml").decode()
    # They are started many times, by users who may write nothing there.
    compileall.compile_dir(folder, quiet=2)
    return Previous(wheel.name.split("-")[1], programs["operator"], programs["sidecar"], manifest)
