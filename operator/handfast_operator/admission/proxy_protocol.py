"""The ports on which a pod's application wants to be told who calls: an annotation, passed on to its sidecar. Pure."""

from collections.abc import Mapping
from typing import Any

from handfast_sidecar.config.port_list import parse_ports
from handfast_sidecar.errors import BadInput
from handfast_sidecar.wellknown import ANNOTATION_PROXY_PROTOCOL_PORTS, ENV_PROXY_PROTOCOL_PORTS


class UnusablePorts(ValueError):
    """The annotation cannot be read; the message says what to write instead."""


def proxy_protocol(meta: Mapping[str, Any]) -> dict[str, str]:
    """What the proxy's environment says of it; nothing without the annotation. Raises UnusablePorts."""
    text = (meta.get("annotations") or {}).get(ANNOTATION_PROXY_PROTOCOL_PORTS)
    if text is None:
        return {}
    try:
        ports = parse_ports(text)
    except BadInput as error:
        raise UnusablePorts(
            f"its annotation {ANNOTATION_PROXY_PROTOCOL_PORTS}: {text!r} cannot be used: {error}; write ports of the "
            'application with commas between, such as "8080,9090", or remove the annotation'
        ) from error
    return {ENV_PROXY_PROTOCOL_PORTS: ",".join(map(str, sorted(ports)))}
