"""Whether the operator's three parts run, can be reached, and are of one version."""

from collections.abc import Iterator, Sequence
from typing import Final

from handfast_operator.checks.check import Check
from handfast_operator.checks.facts import DEPLOYMENTS, NOTHING, OWN_PODS, Facts, Raw
from handfast_operator.checks.finding import Problem, error, warning
from handfast_operator.cluster.kinds import ENDPOINT_SLICES, MUTATING_WEBHOOKS, PODS, SERVICES, Kind
from handfast_operator.cluster.parts import COMPONENT_LABEL, ROLES_OF_OPERATOR, VERSION_LABEL
from handfast_sidecar.wellknown import INIT_CONTAINER, PROXY_CONTAINER, WEBHOOK_CONFIGURATION

_LOSES: Final = {
    "controller": "no certificate is made or renewed, and no policy's status is kept",
    "webhook": "no pod that opts in can be created",
    "directory": "sidecars are told nothing new, and refuse addresses of the cluster that they do not know",
}
_UNPULLED: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_SERVED: Final = ("webhook", "directory")
_SIDECAR_IMAGE: Final = "HANDFAST_SIDECAR_IMAGE"
_LONG: Final = 300
"""Characters that are shown of what kubelet says."""


def _absent(facts: Facts) -> Iterator[Problem]:
    """Where nothing of it is there, one sentence is enough; where a part is there, each part that is missing is."""
    if not facts.of(DEPLOYMENTS):
        yield error(f"Namespace {facts.namespace}", "Handfast is not installed there", _find(facts, install=True))


def _runs(role: str, facts: Facts) -> Iterator[Problem]:
    name, namespace = f"handfast-{role}", facts.namespace
    about = f"Deployment {namespace}/{name}"
    deployment = facts.named(DEPLOYMENTS, name)
    if deployment is None:
        yield error(about, f"it is missing: {_LOSES[role]}", _find(facts))
        return
    wanted = (deployment.get("spec") or {}).get("replicas", 1)
    pods = [each for each in facts.own_pods(role) if "deletionTimestamp" not in each["metadata"]]
    ready = sum(map(is_ready, pods))
    if not wanted:
        yield error(
            about, f"it has 0 replicas: {_LOSES[role]}", f"kubectl scale deployment/{name} -n {namespace} --replicas=2"
        )
    elif not ready:
        look = f"kubectl describe pods -n {namespace} -l {COMPONENT_LABEL}={role}"
        yield error(about, f"none of its {wanted} pods is ready: {_LOSES[role]}. {why_not(pods)}", look)
    elif ready < wanted:
        yield warning(
            about,
            f"{ready} of its {wanted} pods are ready. {why_not([each for each in pods if not is_ready(each)])}",
            f"kubectl describe pods -n {namespace} -l {COMPONENT_LABEL}={role}",
        )


def _find(facts: Facts, *, install: bool = False) -> str:
    found = facts.named(MUTATING_WEBHOOKS, WEBHOOK_CONFIGURATION) or NOTHING
    for entry in found.get("webhooks") or ():
        other = ((entry.get("clientConfig") or {}).get("service") or {}).get("namespace")
        if other and other != facts.namespace:
            return f"Handfast is installed in the namespace {other}: add --operator-namespace={other}"
    if not install:
        return facts.upgrade
    return f"handfast check --pre, then: helm install handfast charts/handfast -n {facts.namespace} --create-namespace"


def is_ready(pod: Raw) -> bool:
    """As its own conditions say."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def why_not(pods: Sequence[Raw]) -> str:
    """What kubelet or the scheduler says of the first pod that they say something of."""
    if not pods:
        return "There are no pods of it: its Events say why"
    for pod in pods:
        status, name = pod.get("status") or {}, pod["metadata"]["name"]
        for condition in status.get("conditions") or ():
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return f"Pod {name} has no node: {_short(condition.get('message'))}"
        for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            state = each.get("state") or {}
            for kind in ("waiting", "terminated"):
                if state.get(kind, {}).get("reason"):
                    said = state[kind]
                    return f"Pod {name}: {said['reason']}: {_short(said.get('message'))}".removesuffix(": ")
    return f"Pod {pods[0]['metadata']['name']} runs, and does not say that it is ready: its log says why"


def _short(message: object) -> str:
    text = " ".join(str(message or "").split())
    return text if len(text) <= _LONG else f"{text[:_LONG]}..."


def _unpulled(facts: Facts) -> Iterator[Problem]:
    told: set[str] = set()
    for pod in (*facts.of(OWN_PODS), *facts.of(PODS)):
        status, meta = pod.get("status") or {}, pod["metadata"]
        ours = meta["namespace"] == facts.namespace and pod in facts.of(OWN_PODS)
        for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            waiting = (each.get("state") or {}).get("waiting") or {}
            image = str(each.get("image") or "")
            if waiting.get("reason") not in _UNPULLED or not (
                ours or each["name"] in (INIT_CONTAINER, PROXY_CONTAINER)
            ):
                continue
            image = image or _image_of(pod, each["name"])
            if image not in told:
                told.add(image)
                yield error(
                    f"Pod {meta['namespace']}/{meta['name']}",
                    f"the image {image} cannot be pulled: {waiting['reason']}: {_short(waiting.get('message'))}",
                    "look at images.operator and images.sidecar (repository, tag, digest) and imagePullSecrets in the"
                    " chart's values, and whether the nodes reach the registry",
                )


def _image_of(pod: Raw, container: str) -> str:
    spec = pod.get("spec") or {}
    found = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    return next((str(each.get("image")) for each in found if each["name"] == container), "?")


def _endpoints(facts: Facts) -> Iterator[Problem]:
    for role in _SERVED:
        name = f"handfast-{role}"
        about = f"Service {facts.namespace}/{name}"
        service = facts.named(SERVICES, name)
        if service is None:
            yield error(about, f"it is missing: {_LOSES[role]}", facts.upgrade)
            continue
        ready = [each for each in facts.own_pods(role) if is_ready(each)]
        # Without a ready pod it is the Deployment's affair.
        if ready and not _some_ready(facts, name):
            selector = ", ".join(f"{key}={value}" for key, value in (service["spec"].get("selector") or {}).items())
            yield error(
                about,
                f"it has no ready endpoint, while {len(ready)} pods of its Deployment are ready: {_LOSES[role]}. Its"
                f" selector is {selector or 'empty'}",
                f"kubectl get endpointslices -n {facts.namespace} -l kubernetes.io/service-name={name}; to have its"
                f" selector and ports back: {facts.upgrade}",
            )


def _some_ready(facts: Facts, service: str) -> bool:
    slices = (
        each
        for each in facts.of(ENDPOINT_SLICES)
        if (each["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == service
    )
    # Without the condition an endpoint is ready (discovery.k8s.io/v1).
    return any(
        each.get("ports") and (endpoint.get("conditions") or {}).get("ready") is not False
        for each in slices
        for endpoint in each.get("endpoints") or ()
    )


def _versions(facts: Facts) -> Iterator[Problem]:
    found = {role: facts.named(DEPLOYMENTS, f"handfast-{role}") for role in ROLES_OF_OPERATOR}
    there = {role: each for role, each in found.items() if each is not None}
    images = {role: _container(each).get("image", "") for role, each in there.items()}
    sidecars = {role: sidecar_image(each) for role, each in there.items()}
    for what, values in (("images", images), ("sidecar images that they know", sidecars)):
        if len(set(values.values())) > 1:
            listed = ", ".join(f"{role} {image}" for role, image in values.items())
            yield error(
                f"Deployments in {facts.namespace}",
                f"the operator's parts differ in the {what}: {listed}",
                f"{facts.upgrade}; was a Deployment changed by hand?",
            )
    versions = {(each["metadata"].get("labels") or {}).get(VERSION_LABEL, "") for each in there.values()} - {""}
    if versions and versions != {facts.own_version}:
        yield warning(
            f"Deployments in {facts.namespace}",
            f"Handfast there is {', '.join(sorted(versions))}, this command is {facts.own_version}: what it checks is"
            " what its own version needs",
            "use the command of the version that is installed",
        )


def sidecar_image(deployment: Raw) -> str:
    """The one that new pods get, as a part of the operator was told."""
    variables = _container(deployment).get("env") or ()
    return str(next((each.get("value", "") for each in variables if each["name"] == _SIDECAR_IMAGE), ""))


def _container(deployment: Raw) -> Raw:
    found: Sequence[Raw] = (deployment["spec"].get("template") or {}).get("spec", {}).get("containers") or ()
    return found[0] if found else NOTHING


def _part(role: str) -> Check:
    needs: tuple[Kind, ...] = (DEPLOYMENTS, OWN_PODS)

    def fine(facts: Facts) -> str:
        ready = sum(map(is_ready, facts.own_pods(role)))
        return f"{ready} {'pod' if ready == 1 else 'pods'} of handfast-{role} ready"

    return Check(role, fine, lambda facts: _runs(role, facts), needs)


INSTALLED = Check(
    "installed",
    lambda facts: f"Handfast is installed in the namespace {facts.namespace}",
    _absent,
    (DEPLOYMENTS,),
    decisive=True,
)
PARTS = tuple(map(_part, ROLES_OF_OPERATOR))
IMAGES = Check("image-pull", lambda _facts: "every image is there", _unpulled, (OWN_PODS, PODS))
ENDPOINTS = Check(
    "service-endpoints",
    lambda _facts: "the Services of webhook and directory have endpoints",
    _endpoints,
    (SERVICES, ENDPOINT_SLICES, OWN_PODS),
)
VERSIONS = Check(
    "versions",
    lambda facts: f"controller, webhook, directory and this command are {facts.own_version}",
    _versions,
    (DEPLOYMENTS,),
    lambda facts: bool(facts.of(DEPLOYMENTS)),
)
