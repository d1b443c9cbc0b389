"""What the control stream says: JSON lines, the first of which introduces a tunnel (docs/protocol.md, "hello")."""

import base64
import json
import secrets
from dataclasses import dataclass
from typing import Final

from handfast_sidecar.errors import BadFrame
from handfast_sidecar.versions import Side, Versions, no_common

SPEAKS: Final = Versions(1, 1)
"""Versions of the tunnel: of its control lines, its prefaces and its answers. 0.1.0 speaks 1."""
CONTROL_STREAM: Final = 1
MAX_LINE: Final = 4096
"""Bytes; a control stream with a longer line ends the tunnel."""
TUNNEL_ID_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class TunnelHello:
    """First line of either side: its release, the tunnel's unguessable name, and the tunnel it takes over from."""

    version: str
    tunnel: str
    """32 random bytes, base64: whoever names a tunnel in `renews` must have been told its name under TLS."""
    renews: str = ""
    speaks: Versions = SPEAKS

    def encode(self) -> bytes:
        """One line, with its newline."""
        document: dict[str, int | str] = {
            **self.speaks.to_json("hello"),
            "version": self.version,
            "tunnel": self.tunnel,
        }
        if self.renews:
            document["renews"] = self.renews
        return json.dumps(document, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class DrainNotice:
    """The sender will open, or accept, no further streams; those that run may end in peace."""

    reason: str

    def encode(self) -> bytes:
        """One line, with its newline."""
        return json.dumps({"drain": self.reason}, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class BusyNotice:
    """The server waits for the tunnel's socket most of the time, or no longer: another tunnel would help."""

    busy: bool

    def encode(self) -> bytes:
        """One line, with its newline."""
        return json.dumps({"busy": self.busy}, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class RenewNotice:
    """The server has a leaf of another issuer: the client is asked to renew the tunnel now."""

    reason: str

    def encode(self) -> bytes:
        """One line, with its newline."""
        return json.dumps({"renew": self.reason}, separators=(",", ":")).encode() + b"\n"


ControlLine = TunnelHello | DrainNotice | BusyNotice | RenewNotice


def decode(line: bytes) -> ControlLine | None:
    """Read a control line; None for one of a later version. Raises BadFrame."""
    try:
        document = json.loads(line)
        if "hello" in document:
            speaks, version = Versions.from_json(document, "hello"), str(document["version"])
            if SPEAKS.common(speaks) is None:
                return TunnelHello(version, "", speaks=speaks)  # what else it says, we do not know to read
            renews = _tunnel(document["renews"]) if document.get("renews") else ""
            return TunnelHello(version, _tunnel(document["tunnel"]), renews, speaks)
        if "drain" in document:
            return DrainNotice(str(document["drain"]))
        if "busy" in document:
            return BusyNotice(document["busy"] is True)
        if "renew" in document:
            return RenewNotice(str(document["renew"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadFrame(f"not a line of the control stream: {error!r}") from error
    return None


def objection(peer: TunnelHello, *, speaks: Versions = SPEAKS) -> str:
    """What there is against a hello: that no version is in common, in a sentence; empty: nothing."""
    if speaks.common(peer.speaks) is not None:
        return ""
    restart = "so that it gets the sidecar of the operator's version"
    ours = Side("this sidecar", speaks, f"restart this pod, {restart}")
    theirs = Side("the peer's sidecar", peer.speaks, f"restart the peer's pod, {restart}", peer.version)
    return no_common("the tunnel", theirs, ours)


def new_tunnel_id() -> str:
    """A fresh name for a tunnel."""
    return base64.b64encode(secrets.token_bytes(TUNNEL_ID_BYTES)).decode()


def _tunnel(name: object) -> str:
    if not isinstance(name, str) or len(base64.b64decode(name, validate=True)) != TUNNEL_ID_BYTES:
        raise ValueError("a tunnel's name has 32 bytes, in base64")
    return name


class LineReader:
    """Cuts a byte stream into lines; raises BadFrame when one grows past MAX_LINE."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The complete lines, without their newlines."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if max(map(len, [*lines, self._rest])) > MAX_LINE:
            raise BadFrame(f"a line on the control stream is longer than {MAX_LINE} bytes")
        return lines
