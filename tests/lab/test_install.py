"""What the lab installs carries the custom resources of crds/, which can be seen without Helm too."""

from pathlib import Path

import yaml

from handfast_lab.install import HANDFAST

CRDS = Path(__file__).parents[2] / "crds"


def test_the_labs_custom_resources_are_those_of_crds() -> None:
    installed = {
        each["metadata"]["name"]: each["spec"]
        for each in yaml.safe_load_all(HANDFAST.read_text())
        if each["kind"] == "CustomResourceDefinition"
    }
    ours = {
        each["metadata"]["name"]: each["spec"]
        for each in (yaml.safe_load(path.read_text()) for path in CRDS.glob("*.yaml"))
    }
    assert installed == ours
