"""What lives at an address, as JSON and back: the answers of the directory protocol."""

from typing import Any, assert_never

from handfast_sidecar.directory.fields import number, port_of, text, texts
from handfast_sidecar.directory.messages import (
    AddressAnswer,
    Endpoint,
    NobodyAddress,
    PodAddress,
    ServiceAddress,
    Transport,
)
from handfast_sidecar.errors import BadMessage
from handfast_sidecar.identity.spiffe import SpiffeId

Json = dict[str, Any]


def answer_to_json(answer: AddressAnswer) -> Json:
    """All but the message's type."""
    match answer:
        case PodAddress():
            document: Json = {
                "address": answer.address,
                "kind": "pod",
                "name": answer.name,
                "uid": answer.uid,
                "transport": answer.transport.value,
            }
            if answer.identity is not None:
                document["identity"] = str(answer.identity)
            if answer.exceptions:
                document["exceptions"] = {
                    str(port): transport.value for port, transport in sorted(answer.exceptions.items())
                }
            return document
        case ServiceAddress():
            ports = {
                str(port): [_endpoint_to_json(each) for each in ends] for port, ends in sorted(answer.ports.items())
            }
            service: Json = {"address": answer.address, "kind": "service", "name": answer.name, "ports": ports}
            if answer.affinity:
                service["affinity"] = answer.affinity
            if answer.local:
                service["local"] = True
            return service
        case NobodyAddress():
            return {"address": answer.address, "kind": "nobody"}
        case _:
            assert_never(answer)


def _endpoint_to_json(endpoint: Endpoint) -> Json:
    document: Json = {"address": endpoint.address, "port": endpoint.port, "transport": endpoint.transport.value}
    if endpoint.identity is not None:
        document["identity"] = str(endpoint.identity)
    if endpoint.uid:
        document["uid"] = endpoint.uid
    if endpoint.node:
        document["node"] = endpoint.node
    if endpoint.zones:
        document["zones"] = list(endpoint.zones)
    if endpoint.nodes:
        document["nodes"] = list(endpoint.nodes)
    if endpoint.terminating:
        document["terminating"] = True
    return document


def answer_from_json(document: Json) -> AddressAnswer:
    """The inverse. Raises BadInput, KeyError, TypeError and ValueError."""
    address = text(document, "address")
    match document["kind"]:
        case "pod":
            exceptions = document.get("exceptions", {})
            return PodAddress(
                address=address,
                name=text(document, "name"),
                uid=text(document, "uid"),
                transport=Transport(document["transport"]),
                identity=_identity(document),
                exceptions={port_of(port): Transport(transport) for port, transport in exceptions.items()},
            )
        case "service":
            ports = {port_of(port): tuple(_endpoint(each) for each in ends) for port, ends in document["ports"].items()}
            affinity = number(document, "affinity") if "affinity" in document else 0
            if affinity < 0:
                raise BadMessage(f"affinity: expected seconds, found {affinity}")
            local = document.get("local") is True
            return ServiceAddress(address, text(document, "name"), ports, affinity, local)
        case "nobody":
            return NobodyAddress(address)
        case kind:
            raise BadMessage(f"an address of unknown kind {kind!r}")


def _endpoint(document: Json) -> Endpoint:
    return Endpoint(
        address=text(document, "address"),
        port=port_of(document["port"]),
        transport=Transport(document["transport"]),
        identity=_identity(document),
        uid=text(document, "uid") if "uid" in document else "",
        node=text(document, "node") if "node" in document else "",
        zones=texts(document, "zones") if "zones" in document else (),
        nodes=texts(document, "nodes") if "nodes" in document else (),
        terminating=document.get("terminating") is True,
    )


def _identity(document: Json) -> SpiffeId | None:
    """An endpoint without an expected identity would be a tunnel to anybody, so it is no message of ours."""
    if "identity" in document:
        return SpiffeId.parse(document["identity"])
    if Transport.TUNNEL in (document["transport"], *document.get("exceptions", {}).values()):
        raise BadMessage(f"the meshed endpoint {document['address']} has no identity")
    return None
