import asyncio
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.loop import poller
from handfast_sidecar.observe import logs
from handfast_sidecar.observe.access_log import REFUSED, ConnectionRecord, as_line, write

OWN = SpiffeId.parse("spiffe://test.example/ns/shop/sa/cart")
PEER = SpiffeId.parse("spiffe://test.example/ns/web/sa/front")
CARRIED = ConnectionRecord("in", OWN, PEER, "10.0.0.1:50000", "10.0.0.2:8080", bytes_in=12, bytes_out=34)
NOON = 1_800_000_000.25


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What goes to the process's log from here on."""
    stream = io.StringIO()
    logs.lines.redirect(stream)
    yield stream
    logs.lines.redirect(None)
    logs.lines.at_end = None


def parsed(record: ConnectionRecord) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(as_line(record, "info", NOON))
    return line


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
    assert parsed(record) == {
        "time": "2027-01-15T08:00:00.250Z",
        "level": "info",
        "logger": "handfast.access",
        "message": "connection",
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


def test_a_refusal_is_a_warning_with_rule_and_reason(written: io.StringIO, caplog: pytest.LogCaptureFixture) -> None:
    refused = ConnectionRecord(
        "in",
        OWN,
        None,
        "10.0.0.9:1",
        "10.0.0.2:8080",
        verdict=REFUSED,
        rule="MTLSPolicy shop/orders",
        reason="plaintext",
    )
    with caplog.at_level(logging.INFO):
        write(refused)
    line = json.loads(written.getvalue())
    assert (line["level"], line["peer"]) == ("warning", None)
    assert (line["rule"], line["reason"]) == ("MTLSPolicy shop/orders", "plaintext")


def test_no_field_can_forge_another_or_a_line() -> None:
    rule = 'MTLSPolicy shop/"},\n{"verdict":"allowed'
    forged = ConnectionRecord("in", OWN, None, "10.0.0.9:1", "10.0.0.2:8080", verdict=REFUSED, rule=rule)
    assert "\n" not in as_line(forged, "warning", NOON)
    assert (parsed(forged)["rule"], parsed(forged)["verdict"]) == (rule, REFUSED)


def test_a_level_above_leaves_connections_out_and_refusals_in(
    written: io.StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        write(CARRIED)
        assert written.getvalue() == ""
        write(ConnectionRecord("in", OWN, None, "10.0.0.9:1", "10.0.0.2:8080", verdict=REFUSED))
    assert json.loads(written.getvalue())["verdict"] == REFUSED


async def test_the_lines_of_one_turn_are_written_together_and_in_order_with_the_rest(
    written: io.StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    logs.lines.at_end = poller.current().at_end
    with caplog.at_level(logging.INFO):
        write(CARRIED)
        assert written.getvalue() == ""
        logs.lines.write("an event")
        write(CARRIED)
    await asyncio.sleep(0)
    assert [line.startswith("{") for line in written.getvalue().splitlines()] == [True, False, True]


def test_what_the_policy_has_against_a_connection_stands_in_its_line() -> None:
    record = replace(CARRIED, audited="denied", detail='MTLSPolicy shop/orders says "no"')
    line = parsed(record)
    assert (line["verdict"], line["audited"], line["detail"]) == (
        "allowed",
        "denied",
        'MTLSPolicy shop/orders says "no"',
    )
