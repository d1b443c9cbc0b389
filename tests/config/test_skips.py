"""What a pod's owner keeps out of the mesh: read, merged, and carried to the init container."""

from contextlib import suppress
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.config.ports import MAX_ENTRIES, PortRange, parse_ports
from handfast_sidecar.config.skips import NOTHING, OUTBOUND_RESERVED, Skips, parse_cidrs
from handfast_sidecar.errors import BadConfig, BadInput
from handfast_sidecar.wellknown import SIDECAR_PORTS


def shown(text: str) -> str:
    return ",".join(map(str, parse_ports(text)))


@pytest.mark.parametrize(
    ("text", "merged"),
    [
        ("9090", "9090"),
        (" 9090 , 8000-8010 ", "8000-8010,9090"),
        ("80,81,82-90,85-95", "80-95"),
        ("1-14000,14021-65535", "1-14000,14021-65535"),
        ("", ""),
        (" , ", ""),
    ],
)
def test_ports_are_sorted_and_merged(text: str, merged: str) -> None:
    assert shown(text) == merged


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("80a", "'80a' is no port: expected a number from 1 to 65535"),
        ("0", "'0' is no port"),
        ("65536", "'65536' is no port"),
        ("-1", "'-1' is no port"),
        ("8000-", "'8000-' is no port"),
        ("١٢", "is no port"),
        ("8010-8000", "'8010-8000' ends before it begins: write 8000-8010"),
        ("14008", "'14008' has port 14008, which belongs to the sidecar"),
        ("80,14000-14100", "'14000-14100' has port 14001, which belongs to the sidecar"),
        (",".join(map(str, range(1, MAX_ENTRIES + 2))), f"65 entries, at most {MAX_ENTRIES}"),
        ("9" * 1000, "longer than 64 characters"),
    ],
)
def test_what_is_no_port_is_refused_with_what_is_expected(text: str, sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse_ports(text)
    assert sentence in str(refused.value)


def test_every_port_of_the_sidecar_stays_guarded() -> None:
    for port in SIDECAR_PORTS:
        with pytest.raises(BadInput, match="belongs to the sidecar"):
            parse_ports(str(port))


def test_a_prometheus_in_the_mesh_may_dial_other_sidecars_metrics_directly() -> None:
    assert parse_ports("14020", OUTBOUND_RESERVED) == (PortRange(14020, 14020),)
    with pytest.raises(BadInput, match="belongs to the sidecar"):
        parse_ports("14008", OUTBOUND_RESERVED)


@pytest.mark.parametrize(
    ("text", "merged"),
    [
        ("10.1.0.0/16", ["10.1.0.0/16"]),
        ("10.1.2.3", ["10.1.2.3/32"]),
        ("fd00::1,10.0.0.0/9,10.128.0.0/9", ["10.0.0.0/8", "fd00::1/128"]),
        ("FD00:0::/32, fd00:0:1::/48", ["fd00::/32"]),
        ("0.0.0.0/0,::/0", ["0.0.0.0/0", "::/0"]),
        ("", []),
    ],
)
def test_networks_of_both_families_are_merged(text: str, merged: list[str]) -> None:
    assert [str(each) for each in parse_cidrs(text)] == merged


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("10.1.2.3/16", "'10.1.2.3/16' has bits behind its prefix: write 10.1.0.0/16"),
        ("fd00::1/64", "write fd00::/64"),
        ("10.0.0.0/33", "'10.0.0.0/33' is no network"),
        ("10.0.0.0/255.0.0.0", "is no network"),
        ("10.0.0.0/", "is no network"),
        ("db.shop", "'db.shop' is no network: expected an address or a network such as"),
        ("fe80::1%eth0", "is no network"),
        ("::ffff:10.0.0.0/104", "write it as IPv4"),
    ],
)
def test_what_is_no_network_is_refused_with_what_is_expected(text: str, sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse_cidrs(text)
    assert sentence in str(refused.value)


def test_the_environment_names_the_variable_that_cannot_be_read() -> None:
    with pytest.raises(BadConfig, match=r"HANDFAST_SKIP_OUTBOUND_CIDRS: 'x' is no network"):
        Skips.from_environment({"HANDFAST_SKIP_INBOUND_PORTS": "80", "HANDFAST_SKIP_OUTBOUND_CIDRS": "x"})
    assert Skips.from_environment({}) == NOTHING
    assert NOTHING.dump() == {}


_PORTS = st.integers(1, 65535).filter(lambda port: port not in SIDECAR_PORTS)
_NETWORKS = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)),
    st.tuples(st.ip_addresses(v=6).filter(lambda ip: not str(ip).startswith("::ffff:")), st.integers(0, 128)),
).map(lambda pair: str(ip_network(pair, strict=False)))


@given(st.lists(_PORTS, max_size=MAX_ENTRIES), st.lists(_NETWORKS, max_size=MAX_ENTRIES))
def test_what_is_carried_in_the_environment_is_what_was_written(ports: list[int], networks: list[str]) -> None:
    skips = Skips(parse_ports(",".join(map(str, ports))), (), parse_cidrs(",".join(networks)))
    assert Skips.from_environment(skips.dump()) == skips
    assert {port for each in skips.inbound_ports for port in range(each.first, each.last + 1)} == set(ports)
    for network in networks:
        first = ip_address(str(ip_network(network).network_address))
        assert any(first.version == each.version and first in each for each in skips.outbound_cidrs)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_ports, parse_cidrs):
        with suppress(BadInput):
            parse(text)
