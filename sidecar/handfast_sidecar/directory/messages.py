"""The directory protocol: JSON lines over mutual TLS, one object with a `type` per line (docs/protocol.md).

Both sides import this module and `codec`, so that they are the protocol. Unknown fields are ignored and an unknown
`type` is skipped, so that either side may be the newer one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from handfast_sidecar.identity.revocation import Revocations
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import EffectivePolicy
from handfast_sidecar.versions import Versions

SPEAKS: Final = Versions(1, 1)
"""Versions of this protocol. 0.1.0 speaks 1."""
MAX_LINE: Final = 1 << 20
"""Bytes; a longer line ends the stream. A Service with 5,000 endpoints needs about 800 KB."""
MAX_SIDECAR_LINE: Final = 1 << 18
"""Bytes of a line of a sidecar: about 1,000 edges; a report of more takes several lines (`directory.reporting`). There
are thousands of sidecars, and one directory."""
MAX_WATCHES: Final = 4096
"""Addresses one sidecar may watch at a time; one more ends the stream."""
ALIVE_EVERY_S: Final = 15
"""Seconds between the directory's signs of life."""
SILENCE_S: Final = 45
"""Seconds without a line after which either side gives the other up."""
REPORT_EVERY_S: Final = 10
"""Seconds between a sidecar's reports."""


class Transport(StrEnum):
    """How an endpoint is to be reached."""

    TUNNEL = "tunnel"
    PLAINTEXT = "plaintext"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place a connection can go to. A tunnel's endpoint always has an identity."""

    address: str
    port: int
    transport: Transport = Transport.PLAINTEXT
    identity: SpiffeId | None = None
    uid: str = ""
    node: str = ""
    """Where it runs; told for a Service whose `local` is set, empty otherwise."""
    zones: tuple[str, ...] = ()
    """Zones that should prefer it: the `hints.forZones` of its EndpointSlice."""
    nodes: tuple[str, ...] = ()
    """Nodes that should prefer it: `hints.forNodes`."""
    terminating: bool = False
    """Not ready any more and still serving: only for when there is nobody better."""


@dataclass(frozen=True, slots=True)
class PodAddress:
    """The address is a pod's."""

    address: str
    name: str
    """namespace/name."""
    uid: str
    transport: Transport = Transport.PLAINTEXT
    identity: SpiffeId | None = None
    exceptions: Mapping[int, Transport] = field(default_factory=dict)
    """Ports whose transport differs."""

    def endpoint(self, port: int) -> Endpoint:
        """The pod's endpoint at a port."""
        return Endpoint(self.address, port, self.exceptions.get(port, self.transport), self.identity, self.uid)


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """The address is a Service's cluster IP. A port with no endpoint is present and empty."""

    address: str
    name: str
    """namespace/name."""
    ports: Mapping[int, tuple[Endpoint, ...]] = field(default_factory=dict)
    """TCP ports of the Service, and their endpoints with container ports: the ready ones, and those that are
    terminating where kube-proxy would fall back to them."""
    affinity: int = 0
    """Seconds that all connections of one client go to one endpoint, since its last one; 0: they need not."""
    local: bool = False
    """Only endpoints of the client's own node (`internalTrafficPolicy: Local`)."""


@dataclass(frozen=True, slots=True)
class NobodyAddress:
    """The directory knows every pod and Service, and none has this address."""

    address: str


AddressAnswer = PodAddress | ServiceAddress | NobodyAddress


# --- sidecar -> directory


@dataclass(frozen=True, slots=True)
class Hello:
    """First line of a sidecar. Who speaks is read from the leaf, never from here."""

    version: str
    speaks: Versions = SPEAKS


@dataclass(frozen=True, slots=True)
class Watch:
    """Tell me now, and on every change, what lives at this address."""

    address: str


@dataclass(frozen=True, slots=True)
class Unwatch:
    """I no longer talk to this address."""

    address: str


@dataclass(frozen=True, slots=True)
class Edge:
    """Traffic with one peer at one port, counted since the proxy started."""

    direction: str
    """`in` or `out`."""
    peer: str
    """A SPIFFE ID, or an address where the peer has none."""
    port: int
    encrypted: bool
    connections: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    """Refusals by reason."""
    open: int = 0
    """Connections of now; each is among `connections` from its beginning, its bytes come with its end."""
    last: float = 0.0
    """Unix time at which a connection last began, ended or was refused; 0: not told."""
    audited: Mapping[str, int] = field(default_factory=dict)
    """What would have been refused, by reason, where the policy only audits."""
    rule: str = ""
    """The object that decided last, such as `MTLSPolicy shop/orders`."""
    foreign: bool = False
    """The peer is a server without a sidecar, which speaks mutual TLS itself."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a sidecar runs with, and whom it talked to: the evidence that rotation and promotion wait for."""

    serial: str
    """Hexadecimal serial number of the loaded leaf."""
    not_after: str
    """RFC 3339, UTC."""
    bundle: str
    """SHA-256 of the loaded bundle: see `identity.bundle.fingerprint`."""
    revision: int
    """Of the policy in force."""
    edges: tuple[Edge, ...] = ()
    run: str = ""
    """Names a run of counts, which are compared with nothing that was told before it. One begins with the proxy, and
    another one, with what is left as `repeated`, when edges were forgotten."""
    number: int = 0
    """Of the report in its run, from 1 on; its lines, where it takes several, have the same."""
    repeated: bool = False
    """It was told on an earlier stream, perhaps to another replica: what later reports are compared with, and nothing
    in it is to be counted."""
    issuers: tuple[str, ...] = ()
    """Authority key identifiers, hexadecimal, of the leaves that it needs: its own, and those that its tunnels rest
    on. Empty in the report of a sidecar that does not tell."""
    not_before: str = ""
    """Of the loaded leaf, RFC 3339, UTC: with `not_after` it says when the leaf should have been renewed. Empty in the
    report of a sidecar that does not tell."""


# --- directory -> sidecar


@dataclass(frozen=True, slots=True)
class Welcome:
    """The directory's first line."""

    version: str
    cluster_ranges: tuple[str, ...] = ()
    speaks: Versions = SPEAKS


@dataclass(frozen=True, slots=True)
class Place:
    """Where the sidecar's own pod runs: what `local`, `zones` and `nodes` are compared with."""

    node: str = ""
    zone: str = ""
    """The node's label topology.kubernetes.io/zone; empty when it has none."""


@dataclass(frozen=True, slots=True)
class PolicyUpdate:
    """The sidecar's own effective policy."""

    revision: int
    policy: EffectivePolicy
    over: int = 0
    """A higher revision that it replaces all the same: it belongs to a history that the API server has lost."""


@dataclass(frozen=True, slots=True)
class RevokedUpdate:
    """Who is trusted no more: the whole list."""

    revoked: Revocations


@dataclass(frozen=True, slots=True)
class AddressUpdate:
    """What lives at a watched address."""

    answer: AddressAnswer


@dataclass(frozen=True, slots=True)
class Alive:
    """Nothing changed, and the directory's own view is fresh."""


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The directory ends this stream; the sidecar turns to another replica."""

    reason: str
    detail: str = ""
    """A sentence, for the sidecar's log."""


FromSidecar = Hello | Watch | Unwatch | Report
FromDirectory = Welcome | Place | PolicyUpdate | RevokedUpdate | AddressUpdate | Alive | Goodbye
