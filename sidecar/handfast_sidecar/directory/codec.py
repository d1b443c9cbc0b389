"""Messages of the directory protocol to lines and back; the form is documented in docs/protocol.md."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, assert_never

from handfast_sidecar.directory.messages import (
    MAX_LINE,
    AddressAnswer,
    AddressUpdate,
    Alive,
    Edge,
    Endpoint,
    FromDirectory,
    FromSidecar,
    Goodbye,
    Hello,
    NobodyAddress,
    Place,
    PodAddress,
    PolicyUpdate,
    Report,
    ServiceAddress,
    Transport,
    Unwatch,
    Watch,
    Welcome,
)
from handfast_sidecar.errors import BadInput, BadMessage
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import EffectivePolicy

Json = dict[str, Any]
T = TypeVar("T")


def encode(message: FromSidecar | FromDirectory) -> bytes:
    """One line, with its newline."""
    return json.dumps(_to_json(message), separators=(",", ":")).encode() + b"\n"


def decode_from_sidecar(line: bytes) -> FromSidecar | None:
    """What a sidecar said; None for a type this version does not know. Raises BadMessage."""
    return _decode(line, _FROM_SIDECAR)


def decode_from_directory(line: bytes) -> FromDirectory | None:
    """What the directory said; None for a type this version does not know. Raises BadMessage."""
    return _decode(line, _FROM_DIRECTORY)


def _decode(line: bytes, readers: Mapping[str, Callable[[Json], T]]) -> T | None:
    if len(line) > MAX_LINE:
        raise BadMessage(f"a line of {len(line)} bytes, at most {MAX_LINE} are allowed")
    try:
        document = json.loads(line)
        reader = readers.get(document["type"])
        return reader(document) if reader is not None else None
    except (BadInput, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise BadMessage(f"not a line of this protocol: {error!r} in {line[:120]!r}") from error


def _to_json(message: FromSidecar | FromDirectory) -> Json:
    match message:
        case Hello():
            return {"type": "hello", "protocol": message.protocol, "version": message.version}
        case Watch():
            return {"type": "watch", "address": message.address}
        case Unwatch():
            return {"type": "unwatch", "address": message.address}
        case Report():
            return {
                "type": "report",
                "serial": message.serial,
                "notAfter": message.not_after,
                "bundle": message.bundle,
                "revision": message.revision,
                "edges": [edge_to_json(edge) for edge in message.edges],
            }
        case Welcome():
            return {
                "type": "welcome",
                "protocol": message.protocol,
                "version": message.version,
                "clusterRanges": list(message.cluster_ranges),
            }
        case Place():
            return {"type": "place", "node": message.node, "zone": message.zone}
        case PolicyUpdate():
            return {"type": "policy", "revision": message.revision, "policy": message.policy.to_json()}
        case AddressUpdate():
            return {"type": "address", **_answer_to_json(message.answer)}
        case Alive():
            return {"type": "alive"}
        case Goodbye():
            return {"type": "goodbye", "reason": message.reason}
        case _:
            assert_never(message)


def _answer_to_json(answer: AddressAnswer) -> Json:
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


def edge_to_json(edge: Edge) -> Json:
    """An edge as a report carries it; the directory repeats it as evidence."""
    return {
        "direction": edge.direction,
        "peer": edge.peer,
        "port": edge.port,
        "encrypted": edge.encrypted,
        "connections": edge.connections,
        "bytesIn": edge.bytes_in,
        "bytesOut": edge.bytes_out,
        "refused": dict(edge.refused),
    }


def _answer(document: Json) -> AddressAnswer:
    address = _text(document, "address")
    match document["kind"]:
        case "pod":
            exceptions = document.get("exceptions", {})
            return PodAddress(
                address=address,
                name=_text(document, "name"),
                uid=_text(document, "uid"),
                transport=Transport(document["transport"]),
                identity=_identity(document),
                exceptions={_port(port): Transport(transport) for port, transport in exceptions.items()},
            )
        case "service":
            ports = {_port(port): tuple(_endpoint(each) for each in ends) for port, ends in document["ports"].items()}
            affinity = _number(document, "affinity") if "affinity" in document else 0
            if affinity < 0:
                raise BadMessage(f"affinity: expected seconds, found {affinity}")
            local = document.get("local") is True
            return ServiceAddress(address, _text(document, "name"), ports, affinity, local)
        case "nobody":
            return NobodyAddress(address)
        case kind:
            raise BadMessage(f"an address of unknown kind {kind!r}")


def _endpoint(document: Json) -> Endpoint:
    return Endpoint(
        address=_text(document, "address"),
        port=_port(document["port"]),
        transport=Transport(document["transport"]),
        identity=_identity(document),
        uid=_text(document, "uid") if "uid" in document else "",
        node=_text(document, "node") if "node" in document else "",
        zones=_texts(document, "zones") if "zones" in document else (),
        nodes=_texts(document, "nodes") if "nodes" in document else (),
        terminating=document.get("terminating") is True,
    )


def _identity(document: Json) -> SpiffeId | None:
    """An endpoint without an expected identity would be a tunnel to anybody, so it is no message of ours."""
    if "identity" in document:
        return SpiffeId.parse(document["identity"])
    if Transport.TUNNEL in (document["transport"], *document.get("exceptions", {}).values()):
        raise BadMessage(f"the meshed endpoint {document['address']} has no identity")
    return None


def _text(document: Json, name: str) -> str:
    value = document[name]
    if not isinstance(value, str):
        raise BadMessage(f"{name}: expected a string, found {value!r}")
    return value


def _texts(document: Json, name: str) -> tuple[str, ...]:
    values = document[name]
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise BadMessage(f"{name}: expected a list of strings, found {values!r}")
    return tuple(values)


def _number(document: Json, name: str) -> int:
    value = document[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadMessage(f"{name}: expected a whole number, found {value!r}")
    return value


def _port(value: object) -> int:
    port = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        raise BadMessage(f"{value!r} is no port number")
    return port


def _edge(document: Json) -> Edge:
    return Edge(
        direction=_text(document, "direction"),
        peer=_text(document, "peer"),
        port=_number(document, "port"),
        encrypted=document["encrypted"] is True,
        connections=_number(document, "connections"),
        bytes_in=_number(document, "bytesIn"),
        bytes_out=_number(document, "bytesOut"),
        refused={str(reason): int(count) for reason, count in document.get("refused", {}).items()},
    )


def _report(document: Json) -> Report:
    return Report(
        serial=_text(document, "serial"),
        not_after=_text(document, "notAfter"),
        bundle=_text(document, "bundle"),
        revision=_number(document, "revision"),
        edges=tuple(_edge(each) for each in document.get("edges", ())),
    )


_FROM_SIDECAR: Final[Mapping[str, Callable[[Json], FromSidecar]]] = {
    "hello": lambda document: Hello(_text(document, "version"), _number(document, "protocol")),
    "watch": lambda document: Watch(_text(document, "address")),
    "unwatch": lambda document: Unwatch(_text(document, "address")),
    "report": _report,
}
_FROM_DIRECTORY: Final[Mapping[str, Callable[[Json], FromDirectory]]] = {
    "welcome": lambda document: Welcome(
        _text(document, "version"), tuple(map(str, document.get("clusterRanges", ()))), _number(document, "protocol")
    ),
    "place": lambda document: Place(_text(document, "node"), _text(document, "zone")),
    "policy": lambda document: PolicyUpdate(
        _number(document, "revision"), EffectivePolicy.from_json(document["policy"])
    ),
    "address": lambda document: AddressUpdate(_answer(document)),
    "alive": lambda _document: Alive(),
    "goodbye": lambda document: Goodbye(_text(document, "reason")),
}
