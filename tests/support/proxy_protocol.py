"""A reader of PROXY protocol v2 headers, written from the specification alone (HAProxy, proxy-protocol.txt, 2.2).

Run as a program it is an application that tells each caller, as a line of JSON, what the header said of him:
    proxy_protocol.py ADDRESS PORT
"""

import json
import socket
import sys
from dataclasses import asdict, dataclass

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
NAMES = {0x21: "version", 0x22: "cn", 0x23: "cipher"}


@dataclass
class Header:
    """What stood in a header; of a LOCAL one nothing."""

    command: str
    source: str = ""
    source_port: int = 0
    destination: str = ""
    destination_port: int = 0
    client: int | None = None
    """The bit field of PP2_TYPE_SSL; None: there was none."""
    verify: int | None = None
    version: str = ""
    cn: str = ""
    cipher: str = ""


def parse(data: bytes) -> tuple[Header, int]:
    """The header at the start, and its length. Raises ValueError for anything else, and when it is not whole."""
    if len(data) < 16 or data[:12] != SIGNATURE or data[12] >> 4 != 2:
        raise ValueError(f"no header: {data[:16]!r}")
    command, kind = {0: "LOCAL", 1: "PROXY"}[data[12] & 15], data[13]
    total = 16 + int.from_bytes(data[14:16])
    if len(data) < total:
        raise ValueError("not whole")
    if command == "LOCAL":
        return Header(command), total
    family, size = {0x11: (socket.AF_INET, 4), 0x21: (socket.AF_INET6, 16)}[kind]
    at = 16
    header = Header(
        command,
        socket.inet_ntop(family, data[at : at + size]),
        int.from_bytes(data[at + 2 * size : at + 2 * size + 2]),
        socket.inet_ntop(family, data[at + size : at + 2 * size]),
        int.from_bytes(data[at + 2 * size + 2 : at + 2 * size + 4]),
    )
    for kind, value in _tlvs(data[at + 2 * size + 4 : total]):
        if kind == 0x20:
            header.client, header.verify = value[0], int.from_bytes(value[1:5])
            for inner, text in _tlvs(value[5:]):
                setattr(header, NAMES[inner], text.decode())
    return header, total


def _tlvs(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        size = int.from_bytes(data[1:3])
        if len(data) < 3 + size:
            raise ValueError("a TLV is cut off")
        found.append((data[0], data[3 : 3 + size]))
        data = data[3 + size :]
    return found


def main(address: str, port: str) -> None:
    with socket.create_server((address, int(port))) as listener:
        while True:
            sock, _peer = listener.accept()
            with sock:
                received = sock.recv(4096)
                try:
                    header, length = parse(received)
                except ValueError as error:
                    sock.sendall(json.dumps({"error": str(error)}).encode() + b"\n")
                    continue
                received = received[length:] or sock.recv(4096)
                sock.sendall(json.dumps({**asdict(header), "said": received.decode()}).encode() + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
