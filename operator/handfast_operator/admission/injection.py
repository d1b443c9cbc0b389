"""What a pod becomes: computed anew at each call from the pod as it is, never from a marker. Pure.

Injecting an injected pod gives the same pod, also after another webhook has added a container in between.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from handfast_operator.admission import containers, probes
from handfast_operator.admission.containers import OUR_VOLUMES, InjectionOptions
from handfast_operator.admission.probes import UnknownPort
from handfast_operator.admission.refusals import OURS, refusal, skip_reason
from handfast_operator.resources.selectors import Labels
from handfast_sidecar.config.probes import Probe, ProbeTable
from handfast_sidecar.errors import BadConfig
from handfast_sidecar.wellknown import ENV_PROBES, IDENTITY_VOLUME, PROXY_CONTAINER

Json = dict[str, Any]
Raw = Mapping[str, Any]
SECRET_SUFFIX: Final = "-handfast-"  # noqa: S105 - a part of a name
_SECRET_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?-handfast-[a-z0-9]{10}")
MAX_BASE: Final = 230
"""Characters of a pod's name in its Secret's name, which has at most 253."""


@dataclass(frozen=True, slots=True)
class Injected:
    """The pod as it shall be created."""

    pod: Json


@dataclass(frozen=True, slots=True)
class Skipped:
    """The pod stays as it is."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The pod may not be created."""

    message: str


Outcome = Injected | Skipped | Refused


def inject(
    pod: Raw, namespace: str, namespace_labels: Labels, options: InjectionOptions, random_word: Callable[[], str]
) -> Outcome:
    """Decide about a pod. `random_word` gives ten letters and digits, for the name of the pod's Secret."""
    meta, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    skipped = skip_reason(
        namespace,
        options.operator_namespace,
        meta.get("labels") or {},
        namespace_labels,
        host_network=bool(spec.get("hostNetwork")),
        mirror="kubernetes.io/config.mirror" in (meta.get("annotations") or {}),
        windows=(spec.get("os") or {}).get("name") == "windows",
    )
    if skipped is not None:
        return Skipped(skipped)
    refused = refusal(pod, namespace_labels)
    if refused is not None:
        return Refused(refused)
    try:
        return Injected({**pod, "spec": _spec(meta, spec, options, random_word)})
    except (UnknownPort, BadConfig) as error:
        return Refused(str(error))


def _spec(meta: Raw, spec: Raw, options: InjectionOptions, random_word: Callable[[], str]) -> Json:
    known = _known_probes(spec)
    originals: dict[str, Probe] = {}
    applications = _rewritten(spec.get("containers") or (), known, originals)
    init = _rewritten(spec.get("initContainers") or (), known, originals)
    ours = [
        containers.init_container(options),
        containers.proxy_container(options, ProbeTable(originals).dump()),
    ]
    kept = [each for each in spec.get("volumes") or () if each.get("name") not in OUR_VOLUMES]
    return {
        **spec,
        # First, so that every other init container has the network.
        "initContainers": [*ours, *init],
        "containers": applications,
        "volumes": [*kept, *containers.volumes(_secret_name(meta, spec, random_word))],
    }


def _rewritten(raw: Any, known: Mapping[str, Probe], originals: dict[str, Probe]) -> list[Json]:
    found = []
    for container in raw:
        if container.get("name") in OURS:
            continue
        changed, moved = probes.rewrite(container, known)
        originals.update(moved)
        found.append(changed)
    return found


def _known_probes(spec: Raw) -> Mapping[str, Probe]:
    """Originals that an earlier call left in the proxy's environment. Raises BadConfig."""
    for container in spec.get("initContainers") or ():
        if container.get("name") == PROXY_CONTAINER:
            for variable in container.get("env") or ():
                if variable.get("name") == ENV_PROBES:
                    return probes.read_known(variable.get("value") or "")
    return {}


def _secret_name(meta: Raw, spec: Raw, random_word: Callable[[], str]) -> str:
    """The name an earlier call chose, when it looks like one of ours; else a new one."""
    for volume in spec.get("volumes") or ():
        name = (volume.get("secret") or {}).get("secretName", "")
        if volume.get("name") == IDENTITY_VOLUME and _SECRET_NAME.fullmatch(name):
            return str(name)
    base = str(meta.get("name") or meta.get("generateName") or "pod").rstrip("-.")[:MAX_BASE].rstrip("-.")
    return f"{base}{SECRET_SUFFIX}{random_word()}"
