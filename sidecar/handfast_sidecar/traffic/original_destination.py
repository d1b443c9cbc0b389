"""Where a redirected connection was going before nft redirected it (linux/netfilter_ipv4.h, SO_ORIGINAL_DST)."""

import socket
import struct
from typing import Final

SO_ORIGINAL_DST: Final = 80
IP6T_SO_ORIGINAL_DST: Final = 80
_SOCKADDR_IN: Final = struct.Struct("!2xH4s8x")
_SOCKADDR_IN6: Final = struct.Struct("!2xH4x16s4x")


def original_destination(sock: socket.socket, source: str) -> tuple[str, int]:
    """Address and port of a connection from `source`; raises OSError when it was not redirected."""
    # The source tells the family: to ask the socket costs two objects of an Enum.
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    if family == socket.AF_INET6:
        raw = sock.getsockopt(socket.IPPROTO_IPV6, IP6T_SO_ORIGINAL_DST, _SOCKADDR_IN6.size)
        port, packed = _SOCKADDR_IN6.unpack(raw)
    else:
        raw = sock.getsockopt(socket.IPPROTO_IP, SO_ORIGINAL_DST, _SOCKADDR_IN.size)
        port, packed = _SOCKADDR_IN.unpack(raw)
    return socket.inet_ntop(family, packed), port
