"""What a pod becomes: computed anew at each call from the pod as it is, never from a marker. Pure.

Injecting an injected pod gives the same pod, also after another webhook has added a container in between.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from handfast_operator.admission import containers
from handfast_operator.admission.annotations import UnusableAnnotation, Wishes, read_annotations
from handfast_operator.admission.containers import OUR_VOLUMES, InjectionOptions
from handfast_operator.admission.finality import final_refusal
from handfast_operator.admission.probes import Rewriter, UnusableProbe
from handfast_operator.admission.refusals import (
    MIRROR,
    OURS,
    applications,
    opted_in,
    refusal,
    runs_on_windows,
    skip_reason,
)
from handfast_operator.policy.final import Demand
from handfast_operator.resources.selectors import Labels
from handfast_sidecar.config.probes import ProbeTable
from handfast_sidecar.wellknown import ENV_PROBES, IDENTITY_VOLUME

Json = dict[str, Any]
Raw = Mapping[str, Any]
SECRET_SUFFIX: Final = "-handfast-"  # noqa: S105 - a part of a name
_WORD: Final = re.compile("[a-z0-9]{10}")
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
    unexpected: bool
    """Whether somebody asked for a sidecar, and should be warned that there is none."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The pod may not be created."""

    message: str


Outcome = Injected | Skipped | Refused


def inject(
    pod: Raw,
    namespace: str,
    namespace_labels: Labels,
    options: InjectionOptions,
    random_word: Callable[[], str],
    demands: Sequence[Demand] = (),
) -> Outcome:
    """Decide about a pod. `random_word` gives ten letters and digits, for the name of the pod's Secret; `demands` are
    those of final policies on the namespace, needed of a pod that goes around its sidecar (finality.py)."""
    meta, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    labels = meta.get("labels") or {}
    skipped = skip_reason(
        namespace,
        options.operator_namespace,
        labels,
        namespace_labels,
        host_network=bool(spec.get("hostNetwork")),
        mirror=MIRROR in (meta.get("annotations") or {}),
        windows=runs_on_windows(spec),
    )
    if skipped is not None:
        return Skipped(skipped, opted_in(labels, namespace_labels))
    try:
        wishes = read_annotations(meta.get("annotations") or {}, applications(spec))
        refused = final_refusal(meta.get("annotations") or {}, demands) or refusal(
            pod, namespace_labels, redirected=wishes.redirected
        )
        if refused is not None:
            return Refused(refused)
        return Injected({**pod, "spec": _spec(meta, spec, wishes, options, random_word)})
    except (UnusableAnnotation, UnusableProbe) as error:
        return Refused(str(error))


def _spec(meta: Raw, spec: Raw, wishes: Wishes, options: InjectionOptions, random_word: Callable[[], str]) -> Json:
    rewriter = Rewriter.of_pod(spec)
    before = {each.get("name"): each for each in spec.get("initContainers") or ()}
    others = [rewriter.rewrite(each) for each in spec.get("initContainers") or () if each.get("name") not in OURS]
    rewritten = [rewriter.rewrite(each) for each in spec.get("containers") or ()]
    probes = {ENV_PROBES: ProbeTable(rewriter.originals).dump()}
    ours = [
        *([containers.init_container(options, wishes.of_init())] if wishes.redirected else []),
        containers.proxy_container(options, probes | wishes.of_proxy()),
    ]
    kept = [each for each in spec.get("volumes") or () if each.get("name") not in OUR_VOLUMES]
    return {
        **spec,
        # First, so that every other init container has the network.
        "initContainers": [*(containers.with_additions(each, before.get(each["name"])) for each in ours), *others],
        "containers": rewritten,
        "volumes": [*kept, *containers.volumes(_secret_name(meta, spec, random_word))],
    }


def _secret_name(meta: Raw, spec: Raw, random_word: Callable[[], str]) -> str:
    """The name that an earlier call chose for this pod, else a new one.

    A manifest copied from a running pod carries that pod's Secret: it shows by another name, or by a UID.
    """
    base = str(meta.get("name") or meta.get("generateName") or "pod").rstrip("-.")[:MAX_BASE].rstrip("-.")
    for volume in spec.get("volumes") or ():
        name = str((volume.get("secret") or {}).get("secretName", ""))
        head, suffix, word = name.rpartition(SECRET_SUFFIX)
        chosen = head == base and suffix and _WORD.fullmatch(word)
        if volume.get("name") == IDENTITY_VOLUME and chosen and not meta.get("uid"):
            return name
    return f"{base}{SECRET_SUFFIX}{random_word()}"
