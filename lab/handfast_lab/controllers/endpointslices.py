"""EndpointSlices of Services with a selector: which pods stand behind them, and whether they are ready."""

from collections import defaultdict
from ipaddress import ip_address
from typing import Any, Final

from handfast_lab.api.following import Following
from handfast_lab.api.port import Api
from handfast_lab.api.problems import ApiProblem

Json = dict[str, Any]
SLICES: Final = "endpointslices.discovery.k8s.io"
_LABEL: Final = "kubernetes.io/service-name"
_MANAGED: Final = "endpointslice.kubernetes.io/managed-by"
_US: Final = "endpointslice-controller.k8s.io"
_ENDED: Final = frozenset({"Succeeded", "Failed"})
_FAMILIES: Final = {"IPv4": 4, "IPv6": 6}


class EndpointSlices:
    """Keeps them true."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._following = Following(api, "services", "pods")

    async def run(self) -> None:
        """Until cancelled."""
        await self._following.run(self._write)

    async def _write(self) -> None:
        wanted: dict[tuple[str, str], Json] = {}
        for service in self._following.all("services"):
            for each in slices(service, self._following.within("pods", service["metadata"]["namespace"])):
                wanted[each["metadata"]["namespace"], each["metadata"]["name"]] = each
        known = {
            (each["metadata"]["namespace"], each["metadata"]["name"]): each
            for each in self._api.list(SLICES, labels={_MANAGED: _US})
        }
        for key, each in wanted.items():
            try:
                if key not in known:
                    await self._api.create(each)
                elif any(known[key].get(field) != each[field] for field in ("endpoints", "ports")):
                    await self._api.update(each)
            except ApiProblem as problem:
                if problem.code not in (403, 404, 409):  # the namespace is on its way out, or somebody was faster
                    raise
        for namespace, name in known.keys() - wanted.keys():
            try:
                await self._api.delete(SLICES, namespace, name)
            except ApiProblem as problem:
                if problem.code != 404:
                    raise


def slices(service: Json, pods: list[Json]) -> list[Json]:
    """The slices of a Service: one for each family and set of target ports."""
    spec, meta = service["spec"], service["metadata"]
    selector = spec.get("selector")
    if not selector or spec.get("type") == "ExternalName":
        return []
    behind = [each for each in pods if selector.items() <= (each["metadata"].get("labels") or {}).items()]
    grouped: dict[tuple[str, tuple[tuple[str, str, int], ...]], list[Json]] = defaultdict(list)
    for family in spec.get("ipFamilies") or ["IPv4"]:
        grouped[family, ()] = []
        for pod in behind:
            addresses = [
                each["ip"]
                for each in (pod.get("status") or {}).get("podIPs") or ()
                if ip_address(each["ip"]).version == _FAMILIES[family]
            ]
            if addresses and pod["status"].get("phase") not in _ENDED:
                grouped[family, _targets(spec, pod)].append(_endpoint(service, pod, addresses[0]))
    return [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{meta['name']}-{family.lower()}-{'-'.join(str(port) for *_, port in ports) or 'none'}",
                "namespace": meta["namespace"],
                "labels": {_LABEL: meta["name"], _MANAGED: _US},
                "ownerReferences": [
                    {
                        "apiVersion": "v1",
                        "kind": "Service",
                        "name": meta["name"],
                        "uid": meta["uid"],
                        "controller": True,
                    }
                ],
            },
            "addressType": family,
            "endpoints": endpoints,
            "ports": [{"name": name, "protocol": protocol, "port": port} for name, protocol, port in ports],
        }
        for (family, ports), endpoints in grouped.items()
    ]


def _targets(spec: Json, pod: Json) -> tuple[tuple[str, str, int], ...]:
    """Name, protocol and number of each port, as this pod has them."""
    named = {
        (each.get("name"), each.get("protocol", "TCP")): each["containerPort"]
        for container in (*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ()))
        for each in container.get("ports") or ()
    }
    found = []
    for port in spec.get("ports") or ():
        protocol = port.get("protocol", "TCP")
        target = port.get("targetPort", port["port"])
        number = named.get((target, protocol)) if isinstance(target, str) else target
        if number is not None:
            found.append((port.get("name", ""), protocol, int(number)))
    return tuple(found)


def _endpoint(service: Json, pod: Json, address: str) -> Json:
    meta, spec = pod["metadata"], pod["spec"]
    serving = any(
        each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions") or ()
    )
    ending = "deletionTimestamp" in meta
    published = bool(service["spec"].get("publishNotReadyAddresses"))
    endpoint: Json = {
        "addresses": [address],
        "conditions": {"ready": published or (serving and not ending), "serving": serving, "terminating": ending},
        "nodeName": spec.get("nodeName", ""),
        "targetRef": {"kind": "Pod", "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
    }
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        endpoint["hostname"] = spec["hostname"]
    return endpoint
