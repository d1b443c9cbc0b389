"""Upstreams, as they are written in an annotation and carried in the environment."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.config.upstreams import MAX_UPSTREAMS, Upstream, dump_upstreams, is_address, parse_upstreams
from handfast_sidecar.errors import BadInput
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.wellknown import SIDECAR_PORTS

PARTNER = SpiffeId.parse("spiffe://partner.example/ns/a/sa/b")


@pytest.mark.parametrize(
    ("text", "upstreams"),
    [
        ("15432=db.shop:5432", [Upstream(15432, "db.shop", 5432)]),
        (
            "15432=db.shop:5432, 16379=10.0.0.7:6379\n18080=[FD00::0:7]:80\n",
            [
                Upstream(15432, "db.shop", 5432),
                Upstream(16379, "10.0.0.7", 6379),
                Upstream(18080, "fd00::7", 80),
            ],
        ),
        (
            "18443=api.Partner.example.:443 \t spiffe://partner.example/ns/a/sa/b",
            [Upstream(18443, "api.partner.example.", 443, PARTNER)],
        ),
        ("1024=a:1,65535=9to5:65535", [Upstream(1024, "a", 1), Upstream(65535, "9to5", 65535)]),
        ("", []),
        (" ,\n", []),
    ],
)
def test_upstreams_are_read_in_their_order(text: str, upstreams: list[Upstream]) -> None:
    assert list(parse_upstreams(text)) == upstreams


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("db.shop:5432", "'db.shop:5432' is no upstream: expected LOCAL=HOST:PORT, such as 15432=db.shop:5432"),
        ("15432=db.shop", "is no upstream"),
        ("15432 = db.shop:5432", "is no upstream"),
        ("=db.shop:5432", "has the local port ''"),
        ("x=db.shop:5432", "has the local port 'x'"),
        ("70000=db.shop:5432", "has the local port '70000'"),
        ("443=db.shop:5432", "local port 443, which takes a privilege: choose one from 1024 on"),
        ("15432=db.shop:0", "has the port '0'"),
        ("15432=db.shop:http", "has the port 'http'"),
        ("15432=db_.-shop:80", "has the host 'db_.-shop': expected a DNS name"),
        ("15432=:80", "is no upstream"),
        ("15432=db..shop:80", "has the host 'db..shop'"),
        (f"15432={'a' * 64}:80", "has the host"),
        (f"15432={'a.' * 200}a:80", "has the host"),
        ("15432=fd00::7:80", "has the host 'fd00::7': expected a DNS name"),
        ("15432=[10.0.0.7]:80", "has the host '[10.0.0.7]'"),
        ("15432=[fe80::1%eth0]:80", "has the host '[fe80::1%eth0]'"),
        ("15432=10.1:80", "has the host '10.1'"),
        ("15432=2130706433:80", "has the host '2130706433'"),
        ("15432=0x7f.0x1:80", "has the host '0x7f.0x1'"),
        ("15432=010.0.0.1:80", "has the host '010.0.0.1'"),
        ("15432=127.0.0.1:80", "leads to 127.0.0.1"),
        ("15432=[::]:80", "leads to ::"),
        ("15432=224.0.0.1:80", "leads to 224.0.0.1"),
        ("15432=[::ffff:10.0.0.7]:80", "write 10.0.0.7"),
        ("15432=db:80 https://x", "behind its port: 'https://x' does not start with 'spiffe://'"),
        ("15432=db:80 spiffe://a/b spiffe://a/c", "something else than a SPIFFE ID"),
        ("15432=a:80,15432=b:80", "'15432=b:80' and '15432=a:80' have the same local port"),
        (",".join(f"{2000 + number}=a:80" for number in range(MAX_UPSTREAMS + 1)), "65 upstreams, at most 64"),
        *((f"{port}=db:80", f"local port {port}, which belongs to the sidecar") for port in sorted(SIDECAR_PORTS)),
    ],
)
def test_what_is_no_upstream_is_refused_with_the_wrong_part(text: str, sentence: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse_upstreams(text)
    assert sentence in str(refused.value)


def test_a_refusal_of_a_long_entry_is_short() -> None:
    with pytest.raises(BadInput) as refused:
        parse_upstreams("x" * 100_000)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    ("host", "address"), [("10.0.0.7", True), ("fd00::7", True), ("db", False), ("db.shop.", False), ("10.a", False)]
)
def test_an_address_is_told_from_a_name(host: str, address: bool) -> None:
    assert is_address(host) is address


_LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
_NAMES = st.builds(
    lambda labels, last: ".".join([*labels, last]),
    st.lists(_LABELS, max_size=3),
    st.from_regex(r"[a-z]{1,5}\.?", fullmatch=True),
)


def _of_one(ip: IPv4Address | IPv6Address) -> bool:
    mapped = getattr(ip, "ipv4_mapped", None)
    return not (ip.is_loopback or ip.is_unspecified or ip.is_multicast or mapped)


_HOSTS = st.one_of(_NAMES, st.ip_addresses().filter(_of_one).map(str))
_LOCAL = st.integers(1024, 65535).filter(lambda port: port not in SIDECAR_PORTS)
_UPSTREAMS = st.builds(Upstream, _LOCAL, _HOSTS, st.integers(1, 65535), st.sampled_from([None, PARTNER]))


@given(st.lists(_UPSTREAMS, max_size=MAX_UPSTREAMS, unique_by=lambda each: each.local_port))
def test_what_is_carried_in_the_environment_is_what_was_written(upstreams: list[Upstream]) -> None:
    assert list(parse_upstreams(dump_upstreams(upstreams))) == upstreams


@given(st.text(alphabet=st.sampled_from("0123456789=:[].,-%ax \n\t\x00spife/é"), max_size=80))
def test_any_text_is_refused_or_read_as_what_it_is_written_as_again(text: str) -> None:
    try:
        upstreams = parse_upstreams(text)
    except BadInput:
        return
    assert parse_upstreams(dump_upstreams(upstreams)) == upstreams
    for each in upstreams:
        assert 1024 <= each.local_port < 65536
        assert 0 < each.port < 65536
