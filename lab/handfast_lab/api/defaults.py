"""What the API server fills in: fields that node agents, controllers and clients rely on. Pure.

The one rule: a default never replaces what is there, so filling in twice is filling in once.
"""

from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Final

from handfast_lab.api.problems import invalid

Json = dict[str, Any]
Network = IPv4Network | IPv6Network
FIRST_FREE: Final = 16
"""Addresses of a Service range below this are for those that ask for one, such as the API server and DNS."""
_PROBE: Final = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_MODES: Final = ("secret", "configMap", "projected", "downwardAPI")


def fill(found: Json, defaults: Json) -> Json:
    """With what is missing of the top level."""
    return defaults | {name: value for name, value in found.items() if value is not None}


def default(found: Json) -> Json:
    """An object of a built-in kind as the server would store it."""
    filler = _BY_KIND.get(found.get("kind", ""))
    return filler(found) if filler is not None else found


def pod_spec(spec: Json, restart: str = "Always") -> Json:
    """Of a pod or a template of pods."""
    filled = fill(
        spec,
        {
            "restartPolicy": restart,
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "securityContext": {},
            "schedulerName": "default-scheduler",
        },
    )
    for field in ("containers", "initContainers", "ephemeralContainers"):
        if field in filled:
            filled[field] = [_container(each) for each in filled[field] or ()]
    if filled.get("volumes"):
        filled["volumes"] = [_volume(each) for each in filled["volumes"]]
    if account := filled.get("serviceAccountName"):
        filled["serviceAccount"] = account
    return filled


def quality(spec: Json) -> str:
    """`qosClass` (Kubernetes, "Pod Quality of Service Classes")."""
    parts = [each.get("resources") or {} for each in (*spec["containers"], *(spec.get("initContainers") or ()))]
    asked = [(each.get("requests") or {}, each.get("limits") or {}) for each in parts]
    if not any({"cpu", "memory"} & (requests.keys() | limits.keys()) for requests, limits in asked):
        return "BestEffort"
    fixed = all({"cpu", "memory"} <= limits.keys() and limits | requests == limits for requests, limits in asked)
    return "Guaranteed" if fixed else "Burstable"


def addressed(service: Json, ranges: Sequence[Network], taken: Iterable[str]) -> Json:
    """A Service with its families and cluster addresses. Raises ApiProblem where an address asked for is taken."""
    spec, used = service["spec"], {ip_address(each) for each in taken}
    if spec["type"] == "ExternalName":
        return service
    known = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    policy = spec.get("ipFamilyPolicy") or (
        "SingleStack" if len(spec.get("ipFamilies") or ()) < 2 else "RequireDualStack"
    )
    by_family = {f"IPv{each.version}": each for each in ranges}
    given = [f"IPv{ip_address(each).version}" for each in known if each != "None"]
    families = list(spec.get("ipFamilies") or given or [f"IPv{ranges[0].version}"])
    if policy != "SingleStack":
        families += [each for each in by_family if each not in families]
    if known != ["None"]:
        for each in known:
            if ip_address(each) in used:
                why = f"failed to allocate IP {each}: provided IP is already allocated"
                raise invalid(
                    "Service", service["metadata"]["name"], [f'spec.clusterIPs: Invalid value: ["{each}"]: {why}']
                )
        for family in families[len(known) :]:
            network = by_family[family]
            known = [*known, str(next(network[i] for i in range(FIRST_FREE, 1 << 16) if network[i] not in used))]
    filled = spec | {"clusterIP": known[0], "clusterIPs": known, "ipFamilies": families, "ipFamilyPolicy": policy}
    return service | {"spec": filled}


def _container(found: Json) -> Json:
    image = found.get("image") or ""
    tag = image.rpartition("/")[2]
    newest = "@" not in tag and (":" not in tag or tag.endswith(":latest"))
    filled = fill(
        found,
        {
            "imagePullPolicy": "Always" if newest else "IfNotPresent",
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "resources": {},
        },
    )
    if limits := filled["resources"].get("limits"):
        filled["resources"] = filled["resources"] | {"requests": limits | (filled["resources"].get("requests") or {})}
    if filled.get("ports"):
        filled["ports"] = [fill(each, {"protocol": "TCP"}) for each in filled["ports"]]
    if filled.get("env"):
        filled["env"] = [_variable(each) for each in filled["env"]]
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if filled.get(name):
            filled[name] = _probe(filled[name])
    for name, hook in (filled.get("lifecycle") or {}).items():
        if isinstance(hook, dict) and "httpGet" in hook:
            filled["lifecycle"] = filled["lifecycle"] | {name: _handler(hook)}
    return filled


def _variable(found: Json) -> Json:
    reference = (found.get("valueFrom") or {}).get("fieldRef")
    return found | {"valueFrom": {"fieldRef": fill(reference, {"apiVersion": "v1"})}} if reference else found


def _probe(found: Json) -> Json:
    filled = _handler(fill(found, dict(_PROBE)))
    return filled | {"grpc": fill(filled["grpc"], {"service": ""})} if "grpc" in filled else filled


def _handler(found: Json) -> Json:
    return found | {"httpGet": fill(found["httpGet"], {"path": "/", "scheme": "HTTP"})} if "httpGet" in found else found


def _volume(found: Json) -> Json:
    filled = dict(found) if len(found) > 1 else found | {"emptyDir": {}}
    for name in _MODES:
        if isinstance(filled.get(name), dict):
            filled[name] = fill(filled[name], {"defaultMode": 0o644})
    if filled.get("hostPath"):
        filled["hostPath"] = fill(filled["hostPath"], {"type": ""})
    if sources := (filled.get("projected") or {}).get("sources"):
        filled["projected"] = filled["projected"] | {"sources": [_source(each) for each in sources]}
    return filled


def _source(found: Json) -> Json:
    token = found.get("serviceAccountToken")
    return found if token is None else found | {"serviceAccountToken": fill(token, {"expirationSeconds": 3600})}


def _pod(found: Json) -> Json:
    return found | {"spec": pod_spec(fill(found["spec"], {"enableServiceLinks": True}))}


def _service(found: Json) -> Json:
    spec = fill(found["spec"], {"type": "ClusterIP", "sessionAffinity": "None"})
    if spec["sessionAffinity"] == "ClientIP":
        spec = fill(spec, {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}})
    if spec["type"] != "ExternalName":
        spec = fill(spec, {"internalTrafficPolicy": "Cluster"})
    if spec.get("ports"):
        spec["ports"] = [
            fill(each, {"protocol": "TCP", "targetPort": each.get("port")})
            for each in (fill(port, {}) for port in spec["ports"])
        ]
    return found | {"spec": spec}


def _deployment(found: Json) -> Json:
    spec = fill(found["spec"], {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
    strategy = fill(spec.get("strategy") or {}, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        rolling = fill(strategy.get("rollingUpdate") or {}, {"maxUnavailable": "25%", "maxSurge": "25%"})
        strategy = strategy | {"rollingUpdate": rolling}
    return found | {"spec": spec | {"strategy": strategy, "template": _template(spec["template"])}}


def _replica_set(found: Json) -> Json:
    spec = fill(found["spec"], {"replicas": 1})
    return found | {"spec": spec | ({"template": _template(spec["template"])} if "template" in spec else {})}


def _job(found: Json) -> Json:
    """Its selector is the uid that the server gave it, as of a Job that names none itself."""
    spec = fill(found["spec"], {"backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False,
                                "manualSelector": False, "podReplacementPolicy": "TerminatingOrFailed"})  # fmt: skip
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    return found | {"spec": fill(spec, {"parallelism": 1}) | {"template": _template(spec["template"])}}


def _template(found: Json) -> Json:
    return found | {"metadata": found.get("metadata") or {}, "spec": pod_spec(found["spec"])}


def _secret(found: Json) -> Json:
    return fill(found, {"type": "Opaque"})


def _webhooks(found: Json) -> Json:
    mutating = found["kind"].startswith("Mutating")
    more = {"reinvocationPolicy": "Never"} if mutating else {}
    return found | {"webhooks": [_webhook(each, more) for each in found.get("webhooks") or ()]}


def _webhook(found: Json, more: Json) -> Json:
    filled = fill(found, {"failurePolicy": "Fail", "matchPolicy": "Equivalent", "namespaceSelector": {},
                          "objectSelector": {}, "timeoutSeconds": 10, **more})  # fmt: skip
    if service := (filled.get("clientConfig") or {}).get("service"):
        filled["clientConfig"] = filled["clientConfig"] | {"service": fill(service, {"port": 443})}
    filled["rules"] = [fill(each, {"scope": "*"}) for each in filled.get("rules") or ()]
    return filled


def _definition(found: Json) -> Json:
    spec = fill(found["spec"], {"conversion": {"strategy": "None"}})
    kind = spec["names"]["kind"]
    names = fill(spec["names"], {"singular": kind.lower(), "listKind": f"{kind}List"})
    return found | {"spec": spec | {"names": names}}


_BY_KIND: Final[dict[str, Callable[[Json], Json]]] = {
    "CustomResourceDefinition": _definition,
    "Deployment": _deployment,
    "Job": _job,
    "MutatingWebhookConfiguration": _webhooks,
    "Pod": _pod,
    "ReplicaSet": _replica_set,
    "Secret": _secret,
    "Service": _service,
    "ValidatingWebhookConfiguration": _webhooks,
}
