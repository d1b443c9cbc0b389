"""Where listeners are, by the kernel's tables: their text as Linux writes it, and the real ones of this machine."""

import socket
import sys

import pytest

from handfast_sidecar.traffic.exposure import exposed_at, find_exposed

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the texts are those of a little-endian machine")

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1 00 100 0 0 10 0
   1: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 2 1 00 100 0 0 10 0
   2: 0700F40A:1F92 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 3 1 00 100 0 0 10 0
   3: 0700F40A:1F93 0800F40A:C001 01 00000000:00000000 00:00000000 00000000  1000        0 4 1 00 100 0 0 10 0
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   1: 00000000000000000000000000000000:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   2: 000000FD000000000000000007000000:1F92 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   3: 0000000000000000FFFF00000100007F:1F94 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
"""


@pytest.mark.parametrize(
    ("table", "port", "address"),
    [
        (TCP, 0x1F90, None),
        (TCP, 0x1F91, "0.0.0.0"),
        (TCP, 0x1F92, "10.244.0.7"),
        (TCP, 0x1F93, None),
        (TCP, 80, None),
        (TCP6, 0x1F90, None),
        (TCP6, 0x1F91, "::"),
        (TCP6, 0x1F92, "fd00::7"),
        (TCP6, 0x1F94, None),
    ],
)
def test_a_listener_beyond_loopback_is_found(table: str, port: int, address: str | None) -> None:
    assert find_exposed(table.splitlines(), port) == address


@pytest.mark.parametrize(
    ("host", "found"),
    [("127.0.0.1", None), ("127.0.0.2", None), ("0.0.0.0", "0.0.0.0"), ("::1", None), ("::", "::")],
)
def test_the_kernels_own_tables_are_read(host: str, found: str | None) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        assert exposed_at(server.getsockname()[1]) == found
