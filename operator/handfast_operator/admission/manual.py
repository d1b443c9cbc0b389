"""Injection by hand: what `handfast inject` makes of an object, by the very function that the webhook asks. Pure.

The one rule: what becomes one pod is injected in full, what may become several gets the label alone. The Secret of an
identity belongs to one pod and is named in its spec, which no template can do for pods that are yet to come.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, assert_never

from handfast_operator.admission.containers import InjectionOptions
from handfast_operator.admission.injection import Injected, Outcome, Refused, Skipped, inject
from handfast_operator.admission.shape import BadShape, check_pod
from handfast_operator.cluster.templates import Place, places, replaced
from handfast_operator.policy.final import Demand
from handfast_operator.resources.selectors import Labels
from handfast_sidecar.wellknown import INJECT_DISABLED, INJECT_ENABLED, LABEL_INJECT

Json = dict[str, Any]
Raw = Mapping[str, Any]
INJECTED: Final = "injected"
LABELLED: Final = "labelled"
SKIPPED: Final = "skipped"
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class Scene:
    """What a pod is judged by, beside itself."""

    options: InjectionOptions
    namespace: str
    """Of what names none."""
    labels: Mapping[str, Labels] = field(default_factory=dict)
    """Of each namespace, as far as they are known."""
    demands: Mapping[str, Sequence[Demand]] = field(default_factory=dict)
    """Of final policies, by namespace."""

    def of(self, place: Place) -> str:
        """The namespace that a pod will be in."""
        return place.namespace or self.namespace


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one pod or template."""

    what: str
    outcome: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.outcome}{f', because {self.why}' if self.why else ''}"


def inject_object(document: Any, scene: Scene, random_word: Callable[[], str]) -> tuple[Any, list[Told]]:
    """The object as it shall be applied, and what became of each pod in it."""
    told: list[Told] = []
    for place in places(document):
        match _judge(place, scene, random_word):
            case Injected(pod):
                value = {**place.pod, "metadata": _labelled(place.pod)["metadata"]}
                if place.once:
                    value["spec"] = pod["spec"]
                document = replaced(document, place.path, value)
                told.append(Told(str(place), INJECTED if place.once else LABELLED))
            case Skipped(reason, _):
                told.append(Told(str(place), SKIPPED, reason))
            case Refused(message):
                told.append(Told(str(place), REFUSED, message))
            case unknown:
                assert_never(unknown)
    return document, told


def pods_of(document: Any, scene: Scene, random_word: Callable[[], str]) -> list[Json]:
    """The pods that the webhook makes of it, one of each template; of those that it leaves alone, none."""
    outcomes = [_judge(place, scene, random_word) for place in places(document)]
    return [each.pod for each in outcomes if isinstance(each, Injected)]


def _judge(place: Place, scene: Scene, random_word: Callable[[], str]) -> Outcome:
    namespace = scene.of(place)
    try:
        check_pod(place.pod)
    except BadShape as error:
        return Refused(f"{error}: the API server would not take it either")
    pod = _labelled(place.as_pod(namespace))
    labels, demands = scene.labels.get(namespace, {}), scene.demands.get(namespace, ())
    return inject(pod, namespace, labels, scene.options, random_word, demands)


def _labelled(pod: Raw) -> Json:
    """With the label that asks for a sidecar, but where somebody wants none."""
    meta = pod.get("metadata")
    meta = dict(meta) if isinstance(meta, Mapping) else {}
    labels = meta.get("labels")
    labels = dict(labels) if isinstance(labels, Mapping) else {}
    if labels.get(LABEL_INJECT) != INJECT_DISABLED:
        labels[LABEL_INJECT] = INJECT_ENABLED
    return {**pod, "metadata": {**meta, "labels": labels}}
