"""The three ways of client-side apply: what was applied last, what is applied now, and what is there. Pure.

kubectl computes a strategic merge patch by the schemas of all kinds; here lists of built-in kinds are merged by the
same keys, and what differs is sent as a JSON merge patch (RFC 7386). The one rule: what others wrote stays.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

Json = dict[str, Any]
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_KEYS: Final[Mapping[str, tuple[tuple[str, Any], ...]]] = {
    **dict.fromkeys(
        ("containers", "initContainers", "ephemeralContainers", "volumes", "env", "imagePullSecrets", "secrets",
         "webhooks", "matchConditions"), (("name", None),)),
    "volumeMounts": (("mountPath", None),),
    "ownerReferences": (("uid", None),),
    "topologySpreadConstraints": (("topologyKey", None), ("whenUnsatisfiable", None)),
    "ports": (("containerPort", None), ("port", None), ("protocol", "TCP")),
    "hostAliases": (("ip", None),),
}  # fmt: skip
"""What tells items of a list apart (`patchMergeKey`), with defaults; kubectl forgets the protocol of ports."""


def merged(last: Json, now: Json, live: Json, *, keyed: bool) -> Json:
    """What the object should be. `keyed`: lists are merged by keys; else they are replaced."""
    result = {name: value for name, value in live.items() if name not in last or name in now}
    for name, value in now.items():
        before, there = last.get(name), live.get(name)
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(there, dict):
            result[name] = merged(before if isinstance(before, dict) else {}, value, there, keyed=keyed)
        elif isinstance(value, list) and isinstance(there, list) and keyed and name in _KEYS:
            result[name] = _items(_KEYS[name], before if isinstance(before, list) else [], value, there)
        else:
            result[name] = value
    return result


def patch(live: Json, wanted: Json) -> Json:
    """The JSON merge patch that makes the one of the other."""
    found: Json = dict.fromkeys(live.keys() - wanted.keys())
    for name, value in wanted.items():
        there = live.get(name)
        if isinstance(value, dict) and isinstance(there, dict):
            if inner := patch(there, value):
                found[name] = inner
        elif name not in live or value != there:
            found[name] = value
    return found


def _items(by: Sequence[tuple[str, Any]], last: list[Any], now: list[Any], live: list[Any]) -> list[Any]:
    if not all(isinstance(each, dict) for each in (*last, *now, *live)):
        return now

    def keyed(items: list[Json]) -> dict[tuple[Any, ...], Json]:
        return {tuple(each.get(name, default) for name, default in by): each for each in items}

    before, wanted, there = keyed(last), keyed(now), keyed(live)
    kept = [key for key in there if key in wanted or key not in before]
    common = [key for key in kept if key in wanted]
    order = [*kept, *(key for key in wanted if key not in there)]
    if common != [key for key in wanted if key in there]:  # the user has changed the order: theirs first
        order = [*wanted, *(key for key in kept if key not in wanted)]
    return [
        merged(before.get(key, {}), wanted[key], there.get(key, {}), keyed=True) if key in wanted else there[key]
        for key in order
    ]
