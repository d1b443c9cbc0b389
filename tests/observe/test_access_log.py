import logging

import pytest

from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.observe.access_log import REFUSED, ConnectionRecord, fields, write

OWN = SpiffeId.parse("spiffe://test.example/ns/shop/sa/cart")
PEER = SpiffeId.parse("spiffe://test.example/ns/web/sa/front")


def test_a_line_names_both_identities_and_what_protected_the_bytes() -> None:
    record = ConnectionRecord(
        "in",
        OWN,
        PEER,
        "10.0.0.1:50000",
        "10.0.0.2:8080",
        12,
        34,
        0.25,
        "TLSv1.3",
        "TLS_AES_256_GCM_SHA384",
        "X25519MLKEM768",
    )
    assert fields(record) == {
        "direction": "in",
        "own": str(OWN),
        "peer": str(PEER),
        "source": "10.0.0.1:50000",
        "destination": "10.0.0.2:8080",
        "bytes_in": 12,
        "bytes_out": 34,
        "duration": 0.25,
        "verdict": "allowed",
        "tls": {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "group": "X25519MLKEM768"},
    }


def test_a_refusal_is_a_warning_with_rule_and_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        write(
            ConnectionRecord(
                "in",
                OWN,
                None,
                "10.0.0.9:1",
                "10.0.0.2:8080",
                verdict=REFUSED,
                rule="MTLSPolicy shop/orders",
                reason="plaintext",
            )
        )
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert vars(record)["peer"] is None
    assert (vars(record)["rule"], vars(record)["reason"]) == ("MTLSPolicy shop/orders", "plaintext")
