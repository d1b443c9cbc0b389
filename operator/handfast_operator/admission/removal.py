"""What a pod was before it was injected: the inverse of injection.py. Pure.

Exact but for what injection does not keep: a probe's port by its name comes back by its number, and of what the API
server fills in by itself (`path: /`, `scheme: HTTP`) only the path is written.
"""

from collections.abc import Mapping
from typing import Any, Final

from handfast_operator.admission.containers import OUR_VOLUMES
from handfast_operator.admission.probes import HOOKS, PROBES, UnusableProbe, originals_of
from handfast_operator.admission.refusals import OURS
from handfast_sidecar.config.probes import GrpcProbe, HttpProbe, Probe, TcpProbe, probe_path
from handfast_sidecar.wellknown import ADMIN_PORT, INJECT_DISABLED, INJECT_ENABLED, LABEL_INJECT

Json = dict[str, Any]
Raw = Mapping[str, Any]
_LISTS: Final = ("initContainers", "volumes")
"""Lists that injection makes where there is none."""


def uninject(pod: Raw, *, disable: bool = False) -> Json:
    """A pod or a template without what injection added; `disable`: and with the label that keeps it out of the mesh, in
    a namespace that opted in too. Raises UnusableProbe where a probe's original is not known any more."""
    changed = dict(pod)
    meta, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    labels = dict(meta.get("labels") or {})
    if labels.get(LABEL_INJECT) == INJECT_ENABLED:
        del labels[LABEL_INJECT]
    if disable:
        labels[LABEL_INJECT] = INJECT_DISABLED
    if labels != (meta.get("labels") or {}):
        changed["metadata"] = _with(meta, "labels", labels)
        if not changed["metadata"]:
            del changed["metadata"]
    if isinstance(pod.get("spec"), Mapping):
        changed["spec"] = _spec(spec)
    return changed


def _spec(spec: Raw) -> Json:
    originals = originals_of(spec)
    changed = dict(spec)
    for name in _LISTS:
        found = spec.get(name) or ()
        kept = [each for each in found if each.get("name") not in (OURS if name == "initContainers" else OUR_VOLUMES)]
        if len(kept) < len(found):
            changed = _with(changed, name, kept)
    for name in ("initContainers", "containers"):
        if changed.get(name):
            changed[name] = [_container(each, originals) for each in changed[name]]
    return changed


def _with(holder: Raw, name: str, value: Any) -> Json:
    """What is empty is left out, as injection found nothing there."""
    kept = {key: each for key, each in holder.items() if key != name or value}
    return {**kept, name: value} if value else kept


def _container(container: Raw, originals: Mapping[str, Probe]) -> Json:
    changed, name = dict(container), str(container.get("name"))
    for field, word in PROBES.items():
        if container.get(field):
            changed[field] = _restored(container[field], name, word, originals)
    hooks = container.get("lifecycle") or {}
    if hooks:
        changed["lifecycle"] = {
            word: _restored(hook, name, word, originals) if word in HOOKS and hook else hook
            for word, hook in hooks.items()
        }
    return changed


def _restored(handler: Raw, container: str, word: str, originals: Mapping[str, Probe]) -> Json:
    path, http = probe_path(container, word), handler.get("httpGet") or {}
    if (http.get("port"), http.get("path")) != (ADMIN_PORT, path):
        return dict(handler)
    original = originals.get(path)
    if original is None:
        raise UnusableProbe(
            f"the {word} probe of the container {container!r} points at the sidecar, and what it was before is in no "
            "container of it: write the application's own port and path"
        )
    return {name: value for name, value in handler.items() if name != "httpGet"} | _handler(original)


def _handler(probe: Probe) -> Json:
    match probe:
        case HttpProbe():
            found: Json = {"path": probe.path, "port": probe.port}
            if probe.scheme != "HTTP":
                found["scheme"] = probe.scheme
            if probe.headers:
                found["httpHeaders"] = [{"name": name, "value": value} for name, value in probe.headers]
            return {"httpGet": found | ({"host": probe.host} if probe.host else {})}
        case TcpProbe():
            return {"tcpSocket": {"port": probe.port} | ({"host": probe.host} if probe.host else {})}
        case GrpcProbe():
            return {"grpc": {"port": probe.port} | ({"service": probe.service} if probe.service else {})}
