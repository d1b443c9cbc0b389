"""The kernel's table of sockets: read from the real one, and from anything that looks like it."""

import os
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.observe.proc_net import TcpSocket, listeners, parse, sockets

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"


def line(address: IPv4Address | IPv6Address, port: int, state: int, uid: int, inode: int) -> str:
    """As tcp4_seq_show and tcp6_seq_show write it (net/ipv4/tcp_ipv4.c, net/ipv6/tcp_ipv6.c)."""
    words = struct.unpack(f"={len(address.packed) // 4}I", address.packed)
    local = "".join(f"{word:08X}" for word in words)
    nowhere = "0" * len(local)
    return (
        f"   0: {local}:{port:04X} {nowhere}:0000 {state:02X} 00000000:00000000 00:00000000 00000000 "
        f"{uid:5d}        0 {inode} 1 0000000000000000 100 0 0 10 0"
    )


@given(
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)),
    st.integers(0, 65535),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)
def test_what_the_kernel_writes_is_read_back(
    address: IPv4Address | IPv6Address, port: int, state: int, uid: int, inode: int
) -> None:
    [found] = parse([HEAD, line(address, port, state, uid, inode)])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    assert found == TcpSocket(str(mapped or address), port, state == 10, uid, inode)


@given(st.lists(st.one_of(st.text(), st.text("0123456789ABCDEF: ", max_size=200))))
def test_what_is_no_table_is_read_as_an_empty_one(lines: list[str]) -> None:
    for each in parse(lines):
        assert each.inode >= 0


def test_a_table_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert list(sockets([tmp_path / "tcp6"])) == []
    assert list(listeners([tmp_path / "tcp6"])) == []


def test_reading_the_listeners_ends_where_they_end(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    here, there = (IPv4Address(each) for each in ("10.0.0.1", "10.0.0.2"))
    table.write_text("\n".join([HEAD, line(here, 80, 10, 0, 1), line(here, 80, 1, 0, 2), line(there, 81, 10, 0, 3)]))
    assert [each.inode for each in listeners([table])] == [1]
    assert [each.inode for each in sockets([table])] == [1, 2, 3]


def test_a_listener_of_this_process_is_in_the_kernels_own_table() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address, port = server.getsockname()
        expected = TcpSocket(address, port, listening=True, uid=os.getuid(), inode=os.fstat(server.fileno()).st_ino)
        assert expected in list(listeners())


def test_a_listener_on_ipv6_is_told_with_its_address() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        assert [each.address for each in listeners() if each.port == port] == ["::1"]
