"""What `kubectl get` shows of each kind, as the real server's printers have it. Pure."""

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from handfast_lab.api.durations import age
from handfast_lab.api.pod_state import pod_state
from handfast_lab.api.resources import Resource

Json = dict[str, Any]
Cells = Callable[[Json], list[Any]]
Column = tuple[str, int]
"""Name, and priority: 0 is always shown, 1 with `-o wide`."""


def columns(resource: Resource) -> tuple[list[Json], Cells]:
    """Column definitions of a kind, and what fills them."""
    if resource.definition is not None:
        return _custom(resource.definition, resource.version)
    names, cells = _BUILT_IN.get(resource.kind, ([("Name", 0), ("Age", 0)], lambda each: [_name(each), _age(each)]))
    return [_definition(name, priority=priority) for name, priority in names], cells


def _pod(pod: Json) -> list[Any]:
    state = pod_state(pod)
    ip, node = (pod.get("status") or {}).get("podIP"), pod["spec"].get("nodeName")
    shown = [f"{state.ready}/{state.total}", state.word, str(state.restarts), _age(pod)]
    return [_name(pod), *shown, ip or "<none>", node or "<none>", "<none>", "<none>"]


def _service(service: Json) -> list[Any]:
    spec = service["spec"]
    ports = ",".join(f"{each['port']}/{each['protocol']}" for each in spec.get("ports") or ())
    outside = spec.get("externalName") or ",".join(spec.get("externalIPs") or ()) or "<none>"
    ips = spec.get("clusterIPs") or ["<none>"]
    return [
        _name(service),
        spec["type"],
        ips[0],
        outside,
        ports or "<none>",
        _age(service),
        _pairs(spec.get("selector")),
    ]


def _node(node: Json) -> list[Any]:
    status = node.get("status") or {}
    prefix = "node-role.kubernetes.io/"
    roles = [each.removeprefix(prefix) for each in node["metadata"].get("labels") or () if each.startswith(prefix)]
    info, word = status.get("nodeInfo") or {}, {"True": "Ready"}.get(_condition(node, "Ready"), "NotReady")
    if (node.get("spec") or {}).get("unschedulable"):
        word += ",SchedulingDisabled"
    ips = {each["type"]: each["address"] for each in reversed(status.get("addresses") or ())}
    return [_name(node), word, ",".join(roles) or "<none>", _age(node), info.get("kubeletVersion", ""),
            ips.get("InternalIP", "<none>"), ips.get("ExternalIP", "<none>"), info.get("osImage") or "<unknown>",
            info.get("kernelVersion") or "<unknown>", info.get("containerRuntimeVersion") or "<unknown>"]  # fmt: skip


def _deployment(found: Json) -> list[Any]:
    status, spec = found.get("status") or {}, found["spec"]
    return [_name(found), f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
            status.get("updatedReplicas", 0), status.get("availableReplicas", 0), _age(found),
            *_template(found)]  # fmt: skip


def _replica_set(found: Json) -> list[Any]:
    status = found.get("status") or {}
    return [_name(found), found["spec"].get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0),
            _age(found), *_template(found)]  # fmt: skip


def _job(job: Json) -> list[Any]:
    status, spec = job.get("status") or {}, job["spec"]
    words = [word for kind, word in (("Complete", "Complete"), ("Failed", "Failed")) if _condition(job, kind) == "True"]
    began, ended = status.get("startTime"), status.get("completionTime")
    lasted = age(began, datetime.fromisoformat(ended) if ended else datetime.now(UTC)) if began else ""
    return [_name(job), (words or ["Running"])[0], f"{status.get('succeeded', 0)}/{spec.get('completions', 1)}", lasted,
            _age(job), *_template(job)]  # fmt: skip


def _event(event: Json) -> list[Any]:
    about, source = event.get("involvedObject") or {}, event.get("source") or {}
    now = datetime.now(UTC)
    first = age(event.get("firstTimestamp") or event.get("eventTime"), now)
    last = age((event.get("series") or {}).get("lastObservedTime") or event.get("lastTimestamp"), now)
    told = [
        source.get("component") or event.get("reportingComponent"),
        source.get("host") or event.get("reportingInstance"),
    ]
    target = "/".join(filter(None, (about.get("kind", "").lower(), about.get("name"))))
    return [first if last == "<unknown>" else last, event.get("type", ""), event.get("reason", ""), target,
            about.get("fieldPath", ""), ", ".join(filter(None, told)), (event.get("message") or "").strip(), first,
            (event.get("series") or event).get("count") or 1, _name(event)]  # fmt: skip


def _slice(found: Json) -> list[Any]:
    addresses = [ip for each in found.get("endpoints") or () for ip in each["addresses"]]
    shown = ",".join(addresses[:3]) + (f" + {len(addresses) - 3} more..." if len(addresses) > 3 else "")
    ports = ",".join(str(each.get("port", "*")) for each in found.get("ports") or ())
    return [_name(found), found.get("addressType", ""), ports or "<unset>", shown or "<unset>", _age(found)]


def _template(found: Json) -> list[str]:
    containers = found["spec"]["template"]["spec"]["containers"]
    return [",".join(each["name"] for each in containers), ",".join(each.get("image", "") for each in containers),
            _pairs((found["spec"].get("selector") or {}).get("matchLabels"))]  # fmt: skip


_WORKLOAD: Final = [("Containers", 1), ("Images", 1), ("Selector", 1)]


def _shown(*names: str) -> list[Column]:
    return [(name, 0) for name in names]


_BUILT_IN: Final[dict[str, tuple[list[Column], Cells]]] = {
    "Pod": ([*_shown("Name", "Ready", "Status", "Restarts", "Age"), ("IP", 1), ("Node", 1), ("Nominated Node", 1),
             ("Readiness Gates", 1)], _pod),
    "Service": ([*_shown("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age"), ("Selector", 1)], _service),
    "Node": ([*_shown("Name", "Status", "Roles", "Age", "Version"), ("Internal-IP", 1), ("External-IP", 1),
              ("OS-Image", 1), ("Kernel-Version", 1), ("Container-Runtime", 1)], _node),
    "Namespace": (_shown("Name", "Status", "Age"),
                  lambda each: [_name(each), (each.get("status") or {}).get("phase", ""), _age(each)]),
    "Deployment": ([*_shown("Name", "Ready", "Up-to-date", "Available", "Age"), *_WORKLOAD], _deployment),
    "ReplicaSet": ([*_shown("Name", "Desired", "Current", "Ready", "Age"), *_WORKLOAD], _replica_set),
    "Job": ([*_shown("Name", "Status", "Completions", "Duration", "Age"), *_WORKLOAD], _job),
    "Secret": (_shown("Name", "Type", "Data", "Age"),
               lambda each: [_name(each), each.get("type", ""), len(each.get("data") or ()), _age(each)]),
    "ConfigMap": (_shown("Name", "Data", "Age"), lambda each: [
        _name(each), len(each.get("data") or ()) + len(each.get("binaryData") or ()), _age(each)]),
    "Event": ([*_shown("Last Seen", "Type", "Reason", "Object"), ("Subobject", 1), ("Source", 1), ("Message", 0),
               ("First Seen", 1), ("Count", 1), ("Name", 1)], _event),
    "Lease": (_shown("Name", "Holder", "Age"), lambda each: [
        _name(each), (each.get("spec") or {}).get("holderIdentity", ""), _age(each)]),
    "EndpointSlice": (_shown("Name", "AddressType", "Ports", "Endpoints", "Age"), _slice),
}  # fmt: skip


def _custom(definition: Json, version: str) -> tuple[list[Json], Cells]:
    found = next(each for each in definition["spec"]["versions"] if each["name"] == version)
    more = found.get("additionalPrinterColumns") or [
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    ]
    definitions = [_definition("Name")] + [
        _definition(each["name"], each["type"], each.get("priority", 0), each.get("description", "")) for each in more
    ]

    def cells(each: Json) -> list[Any]:
        return [_name(each), *(_printed(_at(each, column["jsonPath"]), column["type"]) for column in more)]

    return definitions, cells


def _definition(name: str, kind: str = "string", priority: int = 0, description: str = "") -> Json:
    form = "name" if name == "Name" else ""
    return {"name": name, "type": kind, "format": form, "description": description, "priority": priority}


_STEP: Final = re.compile(r"""\.([\w-]+)|\[\?\(@\.([\w-]+)==["']([^"']*)["']\)\]|\[(\d+)\]|\['([^']+)'\]""")


def _at(found: Any, path: str) -> Any:
    """The JSONPath subset of printer columns: names, indices, and one filter by equality."""
    for name, key, value, index, quoted in _STEP.findall(path.replace(r"\.", "\0")):
        if key:
            found = next((each for each in found or () if str(each.get(key)) == value), None)
        elif index:
            found = found[int(index)] if isinstance(found, list) and len(found) > int(index) else None
        else:
            found = found.get((name or quoted).replace("\0", ".")) if isinstance(found, dict) else None
    return found


def _printed(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "date":
        return age(str(value), datetime.now(UTC))
    return json.dumps(value) if kind == "string" and not isinstance(value, str) else value


def _name(found: Json) -> str:
    return str(found["metadata"]["name"])


def _age(found: Json) -> str:
    return age(found["metadata"].get("creationTimestamp"), datetime.now(UTC))


def _condition(found: Json, kind: str) -> str:
    conditions: Sequence[Json] = (found.get("status") or {}).get("conditions") or ()
    return next((str(each["status"]) for each in conditions if each["type"] == kind), "")


def _pairs(labels: Json | None) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted((labels or {}).items())) or "<none>"
