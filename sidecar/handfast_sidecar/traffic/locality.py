"""Which endpoints of a Service a pod may use from where it runs. Pure.

The one rule: what kube-proxy would use. This is its CategorizeEndpoints (kubernetes, pkg/proxy/topology.go, v1.36),
for traffic from inside the cluster: a hint is obeyed only where every ready endpoint has one and one of them is for us.
"""

from collections.abc import Callable

from handfast_sidecar.directory.messages import Endpoint, Place

Endpoints = tuple[Endpoint, ...]


def within_reach(endpoints: Endpoints, place: Place, *, local: bool) -> Endpoints:
    """The endpoints that a pod at `place` may use; `local`: the Service's internalTrafficPolicy is Local.

    None of a local Service, when none is on the pod's node; the terminating ones, when no other is ready.
    """
    if local:
        here = tuple(each for each in endpoints if place.node and each.node == place.node)
        return _ready(here) or here
    ready = _ready(endpoints)
    if not ready:
        return endpoints
    return (
        _hinted(ready, lambda each: each.nodes, place.node)
        or _hinted(ready, lambda each: each.zones, place.zone)
        or ready
    )


def _ready(endpoints: Endpoints) -> Endpoints:
    return tuple(each for each in endpoints if not each.terminating)


def _hinted(ready: Endpoints, hints: Callable[[Endpoint], tuple[str, ...]], ours: str) -> Endpoints:
    """Those hinted for our node or zone; none, so that hints are not obeyed, when any endpoint has no hint."""
    if not all(map(hints, ready)):
        return ()
    return tuple(each for each in ready if ours in hints(each))
