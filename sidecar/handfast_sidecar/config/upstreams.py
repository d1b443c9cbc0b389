"""Upstreams: where a connection to a port of loopback goes, as the pod's owner declares it. Pure.

`LOCAL=HOST:PORT`, and behind white space the SPIFFE ID that a host outside the mesh must prove. Written in an
annotation, checked by the webhook, carried to the proxy in its environment: `parse_upstreams` reads all of them, and
is the inverse of `dump_upstreams`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from handfast_sidecar.config.ports import port_number
from handfast_sidecar.errors import BadInput, BadSpiffeId
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.wellknown import SIDECAR_PORTS

MAX_UPSTREAMS: Final = 64
"""Each is one or two listeners."""
FIRST_LOCAL_PORT: Final = 1024
"""Below it a port takes a privilege that the proxy does not have."""
MAX_NAME: Final = 253
"""Characters of a DNS name (RFC 1035, 2.3.4)."""
_SEPARATOR: Final = re.compile(r"[,\n]")
_LABEL: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
"""As the last label it makes the resolver take the whole for an address in one of its old forms (inet_aton(3))."""
_FORM: Final = "expected LOCAL=HOST:PORT, such as 15432=db.shop:5432, and optionally a SPIFFE ID behind a space"


@dataclass(frozen=True, slots=True)
class Upstream:
    """One of them."""

    local_port: int
    """On loopback."""
    host: str
    """A name that is resolved when a connection comes, or an address in its canonical text."""
    port: int
    spiffe_id: SpiffeId | None = None
    """Outside the mesh: dialled with mutual TLS, and only this identity is spoken to."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.local_port}={host}:{self.port}" + (f" {self.spiffe_id}" if self.spiffe_id is not None else "")


def parse_upstreams(text: str) -> tuple[Upstream, ...]:
    """In the order they were written, with commas or line breaks between. Raises BadInput with the wrong part."""
    entries = [entry for part in _SEPARATOR.split(text) if (entry := part.strip())]
    if len(entries) > MAX_UPSTREAMS:
        raise BadInput(f"it has {len(entries)} upstreams, at most {MAX_UPSTREAMS} are taken")
    taken: dict[int, Upstream] = {}
    for entry in entries:
        upstream = _upstream(entry)
        if upstream.local_port in taken:
            raise BadInput(
                f"{str(upstream)!r} and {str(taken[upstream.local_port])!r} have the same local port: give one another"
            )
        taken[upstream.local_port] = upstream
    return tuple(taken.values())


def dump_upstreams(upstreams: Iterable[Upstream]) -> str:
    """The environment variable's text."""
    return ",".join(map(str, upstreams))


def is_address(host: str) -> bool:
    """Whether an upstream's host is an address, so that there is nothing to resolve."""
    return ":" in host or host.rpartition(".")[2].isdecimal()


def _upstream(entry: str) -> Upstream:
    shown = repr(entry if len(entry) <= MAX_NAME else f"{entry[:MAX_NAME]}...")
    place, *further = entry.split(maxsplit=1)
    local, equals, target = place.partition("=")
    host, colon, port = target.rpartition(":")
    if not (equals and colon and host):
        raise BadInput(f"{shown} is no upstream: {_FORM}")
    local_port = port_number(local)
    if local_port is None:
        raise BadInput(f"{shown} has the local port {local[:MAX_NAME]!r}: {_FORM}")
    if local_port < FIRST_LOCAL_PORT:
        raise BadInput(
            f"{shown} has the local port {local_port}, which takes a privilege: choose one from {FIRST_LOCAL_PORT} on"
        )
    if local_port in SIDECAR_PORTS:
        raise BadInput(f"{shown} has the local port {local_port}, which belongs to the sidecar: choose another one")
    remote_port = port_number(port)
    if remote_port is None:
        raise BadInput(f"{shown} has the port {port[:MAX_NAME]!r}: {_FORM}")
    try:
        spiffe_id = SpiffeId.parse(further[0]) if further else None
    except BadSpiffeId as error:
        raise BadInput(f"{shown} has something else than a SPIFFE ID behind its port: {error}") from error
    return Upstream(local_port, _host(host, shown), remote_port, spiffe_id)


def _host(text: str, shown: str) -> str:
    bracketed = text.startswith("[") and text.endswith("]")
    if not bracketed and is_name(text):
        return text.lower()
    try:
        address = ip_address(text[1:-1] if bracketed else text)
    except ValueError:
        address = None
    # Brackets are for what has colons, and an address with a zone means something on one machine only.
    if address is None or bracketed != (address.version == 6) or "%" in text:
        raise BadInput(
            f"{shown} has the host {text[:MAX_NAME]!r}: expected a DNS name, an IPv4 address, or an IPv6 address in "
            "brackets"
        )
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        raise BadInput(f"{shown} leads to {address}, where no other pod or host is: write the address of one")
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        raise BadInput(f"{shown} has an IPv4 address in IPv6's clothes: write {address.ipv4_mapped}")
    return str(address)


def is_name(text: str) -> bool:
    """Whether it can be a DNS name, and cannot be taken for an address."""
    labels = text.removesuffix(".").split(".")
    return len(text) <= MAX_NAME and all(map(_LABEL.fullmatch, labels)) and not _NUMBER.fullmatch(labels[-1])
