"""A filter that the kernel applies before it keeps a frame: a bridge may carry more than a test has time to read.

Classic BPF as packet sockets take it (<linux/filter.h>; the kernel's networking/filter.rst).
"""

import ctypes
import ipaddress
import socket
import struct
from collections.abc import Sequence
from typing import Final

SO_ATTACH_FILTER: Final = 26  # <asm/socket.h>
MOST: Final = 100
"""Addresses: a jump reaches 255 instructions far."""
_LOAD_HALF, _LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x28, 0x20, 0x15, 0x06
_ETHERTYPE, _SOURCE, _DESTINATION = 12, 26, 30
"""Offsets in an Ethernet frame; the last two of an IPv4 packet in it."""
_IPV4 = 0x0800
_WHOLE, _NOTHING = 0xFFFFFFFF, 0

Instruction = tuple[int, int, int, int]
"""Code, jumps if true and if false, operand."""


def from_or_to(addresses: Sequence[str]) -> list[Instruction]:
    """Frames of IPv4 whose source or destination is one of these, of which there are MOST at most."""
    numbers = [int(ipaddress.IPv4Address(each)) for each in addresses]
    if not 0 < len(numbers) <= MOST:
        raise ValueError(f"1 to {MOST} addresses, not {len(numbers)}")
    tests = [(_SOURCE, numbers), (_DESTINATION, numbers)]
    program: list[Instruction] = [(_LOAD_HALF, 0, 0, _ETHERTYPE)]
    refuse = 2 + len(tests) * (1 + len(numbers))
    program.append((_JUMP_IF_EQUAL, 0, refuse - 2, _IPV4))
    for offset, wanted in tests:
        program.append((_LOAD_WORD, 0, 0, offset))
        for number in wanted:
            # The two last instructions refuse and accept.
            program.append((_JUMP_IF_EQUAL, refuse - len(program), 0, number))
    return [*program, (_RETURN, 0, 0, _NOTHING), (_RETURN, 0, 0, _WHOLE)]


def attach(listening: socket.socket, program: Sequence[Instruction]) -> None:
    """Have a socket keep only what the program accepts. Raises OSError."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in program))
    listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(code)))
