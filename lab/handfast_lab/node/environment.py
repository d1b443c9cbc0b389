"""A container's environment, command line and downward API, as kubelet makes them. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from handfast_lab.node.credentials import CannotConfigure
from handfast_lab.node.seams import ImageSpec, Json, NodeFacts

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REFERENCE: Final = re.compile(r"\$(?:\$|\(([^()\s]+)\))")
_SUBSCRIPT: Final = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")

Data = Callable[[str, str], Mapping[str, bytes] | None]
"""What a Secret or ConfigMap holds, by "secrets" or "configmaps" and name; None when there is none."""


def environment(
    pod: Json, container: Json, image: ImageSpec, node: NodeFacts, addresses: Sequence[str], data: Data
) -> dict[str, str]:
    """Every variable. Raises CannotConfigure when something is missing that it refers to."""
    user = (container.get("securityContext") or {}).get("runAsUser", image.user)
    found = {"PATH": PATH, "HOSTNAME": hostname(pod), "HOME": "/root" if user == 0 else "/", **image.environment}
    address = f"[{node.api_host}]" if ":" in node.api_host else node.api_host
    found |= {
        "KUBERNETES_SERVICE_HOST": node.api_host,
        "KUBERNETES_SERVICE_PORT": str(node.api_port),
        "KUBERNETES_SERVICE_PORT_HTTPS": str(node.api_port),
        "KUBERNETES_PORT": f"tcp://{address}:{node.api_port}",
    }
    for source in container.get("envFrom") or ():
        for name, value in _all_of(source, data).items():
            found[source.get("prefix", "") + name] = value
    for variable in container.get("env") or ():
        if "valueFrom" not in variable:
            found[variable["name"]] = expand(variable.get("value") or "", found)
            continue
        referred = _value(pod, variable["valueFrom"], node, addresses, data)
        if referred is not None:
            found[variable["name"]] = referred
    return found


def command_line(container: Json, image: ImageSpec, variables: Mapping[str, str]) -> list[str]:
    """`command` takes the place of the image's entry point, and `args` follow."""
    command = container.get("command") or image.entrypoint
    return [expand(each, variables) for each in [*command, *(container.get("args") or ())]]


def hostname(pod: Json) -> str:
    """As a pod calls itself: the kernel takes 63 characters."""
    return str(pod["spec"].get("hostname") or pod["metadata"]["name"])[:63].rstrip("-.")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` of a variable that is defined already; any other stays as it is, and `$$` is `$`."""
    return _REFERENCE.sub(lambda match: "$" if match[1] is None else variables.get(match[1], match[0]), text)


def field(pod: Json, path: str, node: NodeFacts, addresses: Sequence[str]) -> str:
    """A field of the downward API. Raises CannotConfigure for one that it does not have."""
    meta, spec = pod["metadata"], pod["spec"]
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript:
        return str((meta.get(subscript[1]) or {}).get(subscript[2], ""))
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(meta[path.removeprefix("metadata.")])
        case "metadata.labels" | "metadata.annotations":
            pairs = sorted((meta.get(path.removeprefix("metadata.")) or {}).items())
            return "\n".join(f'{key}="{_escaped(value)}"' for key, value in pairs)
        case "spec.nodeName":
            return node.name
        case "spec.serviceAccountName":
            return str(spec.get("serviceAccountName") or "default")
        case "status.hostIP" | "status.hostIPs":
            return node.address
        case "status.podIP":
            return addresses[0] if addresses else ""
        case "status.podIPs":
            return ",".join(addresses)
        case _:
            raise CannotConfigure(f"unsupported fieldPath: {path}")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _value(pod: Json, source: Mapping[str, Any], node: NodeFacts, addresses: Sequence[str], data: Data) -> str | None:
    if "fieldRef" in source:
        return field(pod, source["fieldRef"]["fieldPath"], node, addresses)
    for reference, resource in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
        if reference in source:
            wanted = source[reference]
            held = data(resource, wanted["name"])
            if held is not None and wanted["key"] in held:
                return held[wanted["key"]].decode(errors="replace")
            if wanted.get("optional"):
                return None
            lacking = _absent(resource, wanted["name"]) if held is None else f"couldn't find key {wanted['key']}"
            raise CannotConfigure(lacking)
    raise CannotConfigure(f"the lab has no variables from {', '.join(source)}")


def _all_of(source: Mapping[str, Any], data: Data) -> dict[str, str]:
    for reference, resource in (("secretRef", "secrets"), ("configMapRef", "configmaps")):
        if reference in source:
            held = data(resource, source[reference]["name"])
            if held is None and not source[reference].get("optional"):
                raise CannotConfigure(_absent(resource, source[reference]["name"]))
            return {key: value.decode(errors="replace") for key, value in (held or {}).items()}
    return {}


def _absent(resource: str, name: str) -> str:
    return f'{resource.removesuffix("s")} "{name}" not found'
