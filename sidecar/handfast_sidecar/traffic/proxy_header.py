"""What an application is told of its caller, where the pod's annotation asks for it: a PROXY protocol v2 header. Pure.

Source: HAProxy, proxy-protocol.txt, sections 2.2 (the header) and 2.2.5 (PP2_TYPE_SSL, and the types inside it).
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.tunnel.preface import FIXED, PORTS, SIGNATURE, TCP4, TCP6, VERSION_PROXY

_LOCAL: Final = 0x20
_TLV: Final = struct.Struct(">BH")
_SSL: Final = struct.Struct(">BI")
PP2_TYPE_SSL: Final = 0x20
PP2_SUBTYPE_SSL_VERSION: Final = 0x21
PP2_SUBTYPE_SSL_CN: Final = 0x22
PP2_SUBTYPE_SSL_CIPHER: Final = 0x23
PP2_CLIENT_SSL: Final = 0x01
PP2_CLIENT_CERT_CONN: Final = 0x02
PP2_CLIENT_CERT_SESS: Final = 0x04
_VERIFIED: Final = 0
"""`verify`: the client presented a certificate, and it was verified."""

LOCAL: Final = FIXED.pack(SIGNATURE, _LOCAL, 0, 0)
"""The header of a connection of the sidecar's own, such as a probe: no addresses, for nobody is behind it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A peer that has proven who it is, and what protects its connection."""

    identity: SpiffeId
    version: str
    """As OpenSSL names it: TLSv1.3."""
    cipher: str


def proxy_header(
    source: str, source_port: int, destination: str, destination_port: int, caller: Caller | None
) -> bytes:
    """The header of a connection; without a caller it came in plaintext, and has no TLV.

    Addresses of two families are both written as IPv6, the IPv4 one mapped (RFC 4291 2.5.5.2).
    """
    ends = ip_address(source), ip_address(destination)
    kind = TCP4
    if any(isinstance(end, IPv6Address) for end in ends):
        kind, ends = TCP6, (_as_v6(ends[0]), _as_v6(ends[1]))
    body = ends[0].packed + ends[1].packed + PORTS.pack(source_port, destination_port)
    if caller is not None:
        body += _tlv(PP2_TYPE_SSL, _ssl(caller))
    return FIXED.pack(SIGNATURE, VERSION_PROXY, kind, len(body)) + body


def _ssl(caller: Caller) -> bytes:
    return (
        _SSL.pack(PP2_CLIENT_SSL | PP2_CLIENT_CERT_CONN | PP2_CLIENT_CERT_SESS, _VERIFIED)
        + _tlv(PP2_SUBTYPE_SSL_VERSION, caller.version.encode())
        + _tlv(PP2_SUBTYPE_SSL_CN, str(caller.identity).encode())
        + _tlv(PP2_SUBTYPE_SSL_CIPHER, caller.cipher.encode())
    )


def _tlv(kind: int, value: bytes) -> bytes:
    return _TLV.pack(kind, len(value)) + value


def _as_v6(address: IPv4Address | IPv6Address) -> IPv6Address:
    return address if isinstance(address, IPv6Address) else IPv6Address(f"::ffff:{address}")
