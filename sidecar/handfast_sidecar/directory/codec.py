"""Messages of the directory protocol to lines and back; the form is documented in docs/protocol.md."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, assert_never

from handfast_sidecar.directory.answers import answer_from_json, answer_to_json
from handfast_sidecar.directory.fields import count, number, text
from handfast_sidecar.directory.messages import (
    MAX_LINE,
    AddressUpdate,
    Alive,
    FromDirectory,
    FromSidecar,
    Goodbye,
    Hello,
    Place,
    PolicyUpdate,
    Report,
    RevokedUpdate,
    Unwatch,
    Watch,
    Welcome,
)
from handfast_sidecar.directory.reports import report_from_json, report_to_json
from handfast_sidecar.errors import BadInput, BadMessage
from handfast_sidecar.identity.revocation import Revocations
from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.versions import Versions

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
            return {"type": "hello", **message.speaks.to_json("protocol"), "version": message.version}
        case Watch():
            return {"type": "watch", "address": message.address}
        case Unwatch():
            return {"type": "unwatch", "address": message.address}
        case Report():
            return {"type": "report", **report_to_json(message)}
        case Welcome():
            return {
                "type": "welcome",
                **message.speaks.to_json("protocol"),
                "version": message.version,
                "clusterRanges": list(message.cluster_ranges),
            }
        case Place():
            return {"type": "place", "node": message.node, "zone": message.zone}
        case PolicyUpdate():
            over = {"over": message.over} if message.over else {}
            return {"type": "policy", "revision": message.revision, **over, "policy": message.policy.to_json()}
        case RevokedUpdate():
            return {"type": "revoked", **message.revoked.to_json()}
        case AddressUpdate():
            return {"type": "address", **answer_to_json(message.answer)}
        case Alive():
            return {"type": "alive"}
        case Goodbye():
            detail = {"detail": message.detail} if message.detail else {}
            return {"type": "goodbye", "reason": message.reason, **detail}
        case _:
            assert_never(message)


_FROM_SIDECAR: Final[Mapping[str, Callable[[Json], FromSidecar]]] = {
    "hello": lambda document: Hello(text(document, "version"), Versions.from_json(document, "protocol")),
    "watch": lambda document: Watch(text(document, "address")),
    "unwatch": lambda document: Unwatch(text(document, "address")),
    "report": report_from_json,
}
_FROM_DIRECTORY: Final[Mapping[str, Callable[[Json], FromDirectory]]] = {
    "welcome": lambda document: Welcome(
        text(document, "version"),
        tuple(map(str, document.get("clusterRanges", ()))),
        Versions.from_json(document, "protocol"),
    ),
    "place": lambda document: Place(text(document, "node"), text(document, "zone")),
    "policy": lambda document: PolicyUpdate(
        number(document, "revision"), EffectivePolicy.from_json(document["policy"]), count(document, "over")
    ),
    "address": lambda document: AddressUpdate(answer_from_json(document)),
    "revoked": lambda document: RevokedUpdate(Revocations.from_json(document)),
    "alive": lambda _document: Alive(),
    "goodbye": lambda document: Goodbye(
        text(document, "reason"), text(document, "detail") if "detail" in document else ""
    ),
}
