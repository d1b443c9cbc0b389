"""Which lists are maps in disguise, and by what: where patches, applies and managed fields go into a list. Pure.

The one rule: a list that is not named here is replaced as a whole.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from handfast_lab.api.resources import Resource

Json = dict[str, Any]
Path = tuple[str, ...]
"""Names of fields, without the places in lists on the way."""
ListKeys = Callable[[Path, Sequence[Any]], tuple[str, ...]]
"""The fields that name an item of a list, or none."""
_BUILT_IN: Final = {
    "conditions": ("type",),
    "containers": ("name",),
    "env": ("name",),
    "ephemeralContainers": ("name",),
    "hostAliases": ("ip",),
    "hostIPs": ("ip",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "matchConditions": ("name",),
    "ownerReferences": ("uid",),
    "podIPs": ("ip",),
    "resourceClaims": ("name",),
    "secrets": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
    "webhooks": ("name",),
}


def built_in_keys(path: Path, items: Sequence[Any]) -> tuple[str, ...]:
    """By the field's name: the same everywhere in the built-in kinds but for `ports`."""
    if path[-1:] == ("ports",) and "endpoints" not in path:
        first = next((each for each in items if isinstance(each, dict)), {})
        return next(((key, "protocol") for key in ("containerPort", "port") if key in first), ())
    return _BUILT_IN.get(path[-1], ()) if path else ()


def list_keys(resource: Resource) -> ListKeys:
    """Of a kind; a custom one says it in its schema."""
    if resource.definition is None:
        # The ports of an EndpointSlice are atomic.
        return built_in_keys if resource.kind != "EndpointSlice" else lambda *_: ()
    versions = resource.definition["spec"]["versions"]
    version = next(each for each in versions if each["name"] == resource.version)
    found: dict[Path, tuple[str, ...]] = {("metadata", "ownerReferences"): ("uid",)}
    _walk((version.get("schema") or {}).get("openAPIV3Schema") or {}, (), found)
    return lambda path, _: found.get(path, ())


def key_of(item: Any, keys: tuple[str, ...]) -> tuple[Any, ...] | None:
    """What names an item; None: it has no such name."""
    if not isinstance(item, dict) or not any(key in item for key in keys):
        return None
    return tuple(item.get(key, "TCP" if key == "protocol" else None) for key in keys)


def _walk(schema: Json, path: Path, found: dict[Path, tuple[str, ...]]) -> None:
    if schema.get("x-kubernetes-list-type") == "map":
        found[path] = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    for name, inner in (schema.get("properties") or {}).items():
        _walk(inner, (*path, name), found)
    if isinstance(items := schema.get("items"), dict):
        _walk(items, path, found)
