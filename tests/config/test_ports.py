"""Ports of an annotation: read, or refused by the part that is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.config.ports import MAX_ENTRIES, parse_few_ports
from handfast_sidecar.errors import BadConfig, BadInput
from handfast_sidecar.settings import Settings
from handfast_sidecar.wellknown import ENV_POD_IPS, ENV_PROXY_PROTOCOL_PORTS, SIDECAR_PORTS

PORTS = st.integers(1, 65535).filter(lambda port: port not in SIDECAR_PORTS)


@given(st.frozensets(PORTS, max_size=MAX_ENTRIES))
def test_ports_are_read_as_they_were_written(ports: frozenset[int]) -> None:
    assert parse_few_ports(" , ".join(map(str, ports))) == ports


@given(st.text())
def test_any_text_is_ports_or_bad_input(text: str) -> None:
    try:
        ports = parse_few_ports(text)
    except BadInput:
        return
    assert all(0 < port < 65536 for port in ports)


def test_the_proxys_environment_names_the_ports() -> None:
    environment = {ENV_POD_IPS: "10.0.0.1", ENV_PROXY_PROTOCOL_PORTS: "80,443"}
    assert Settings.from_environment(environment).proxy_protocol_ports == {80, 443}
    assert Settings.from_environment({ENV_POD_IPS: "10.0.0.1"}).proxy_protocol_ports == frozenset()


def test_an_environment_that_cannot_be_read_is_named() -> None:
    with pytest.raises(BadConfig, match="HANDFAST_PROXY_PROTOCOL_PORTS: 'x' is no port"):
        Settings.from_environment({ENV_POD_IPS: "10.0.0.1", ENV_PROXY_PROTOCOL_PORTS: "80,x"})


def test_more_ports_than_anybody_needs_are_refused() -> None:
    with pytest.raises(BadInput, match="it has 1001 ports, at most 64"):
        parse_few_ports("1000-2000")
