"""The capture puts segments together and knows a TLS 1.3 ServerHello; no cluster is needed to show it."""

import ssl
from pathlib import Path

import pytest

from cluster.kube import pki
from handfast_lab.network.capture import Capture, chose_tls13
from lab.network.frames import frame


def test_segments_out_of_order_and_twice_are_one_stream() -> None:
    capture = Capture(frozenset())
    for sequence, payload in ((100, b"one "), (110, b"three"), (104, b"two  x"), (104, b"two  x"), (100, b"one ")):
        capture.add(frame(sequence, payload))
    assert list(capture.streams().values()) == [b"one two  xthree"]


def test_a_sequence_number_may_wrap() -> None:
    capture = Capture(frozenset())
    for sequence, payload in ((2**32 - 2, b"ab"), (0, b"cd")):
        capture.add(frame(sequence, payload))
    assert capture.contains(b"abcd")


def test_other_addresses_are_left_out() -> None:
    capture = Capture(frozenset({"10.244.0.99"}))
    capture.add(frame(1, b"hello"))
    assert capture.payload_bytes() == 0


@pytest.mark.parametrize(("version", "recognised"), [(ssl.TLSVersion.TLSv1_3, True), (ssl.TLSVersion.TLSv1_2, False)])
def test_a_server_hello_is_known_by_its_version(version: ssl.TLSVersion, recognised: bool, tmp_path: Path) -> None:
    leaf = pki.Authority().issue("server", hosts=("localhost",))
    (tmp_path / "pem").write_bytes(leaf.certificate + leaf.key)
    accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    accepting.load_cert_chain(tmp_path / "pem")
    accepting.maximum_version = version
    dialling = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    dialling.check_hostname, dialling.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    for side in (dialling.wrap_bio(to_client, to_server), accepting.wrap_bio(to_server, to_client, server_side=True)):
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
    assert chose_tls13(to_client.read()) is recognised
