"""What an installation is: its parts as they run, and the settings by which its webhook injects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from handfast_operator.cli.errors import CliError
from handfast_operator.cli.reader import Reader
from handfast_operator.cluster.kinds import DEPLOYMENTS
from handfast_operator.cluster.parts import VERSION_LABEL
from handfast_operator.settings import Settings
from handfast_sidecar.errors import BadInput

Raw = Mapping[str, Any]
WEBHOOK: Final = "handfast-webhook"


@dataclass(frozen=True, slots=True)
class Installed:
    """How the webhook of a cluster injects."""

    settings: Settings
    version: str
    """Of the webhook, as its Deployment is labelled; empty: it is not."""


async def installed(reader: Reader, namespace: str) -> Installed:
    """From the webhook's own Deployment. Raises CliError where there is none, ApiError."""
    found = await reader.one(DEPLOYMENTS, namespace, WEBHOOK)
    if found is None:
        raise CliError(
            f"there is no Deployment {namespace}/{WEBHOOK}: name the namespace of the installation by"
            " --operator-namespace, or give the settings with --offline"
        )
    return parse_installed(found)


def parse_installed(deployment: Raw) -> Installed:
    """Raises CliError where the Deployment says nothing of sidecars."""
    meta = deployment["metadata"]
    containers = deployment["spec"]["template"]["spec"]["containers"]
    variables = {
        each["name"]: str(each["value"])
        for container in containers
        for each in container.get("env") or ()
        if each.get("value") is not None
    }
    where = f"the Deployment {meta['namespace']}/{meta['name']}"
    if "HANDFAST_SIDECAR_IMAGE" not in variables:
        raise CliError(f"{where} has no HANDFAST_SIDECAR_IMAGE: give the settings with --offline")
    try:
        settings = Settings.from_environment({**variables, "HANDFAST_NAMESPACE": meta["namespace"]})
    except BadInput as error:
        raise CliError(f"{where}: {error}") from error
    return Installed(settings, str((meta.get("labels") or {}).get(VERSION_LABEL) or ""))


def version_of(image: str) -> str:
    """The tag of an image, or where it has none its digest: `handfast/sidecar:0.2.0` is 0.2.0."""
    name, at, digest = image.partition("@")
    last = name.rpartition("/")[2]
    _, colon, tag = last.partition(":")
    if colon:
        return tag
    return digest if at else "latest"
