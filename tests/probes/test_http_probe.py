import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.config.probes import HttpProbe
from handfast_sidecar.errors import BadInput
from handfast_sidecar.traffic.http_probe import (
    ResponseHead,
    Target,
    dechunk,
    first_target,
    next_target,
    parse_head,
    request_bytes,
)

POD = "10.0.0.7"


def lines(probe: HttpProbe) -> list[str]:
    return request_bytes(probe, first_target(probe, POD)).decode().split("\r\n")


def test_a_probe_asks_as_kubelet_does() -> None:
    assert lines(HttpProbe(8080, "/healthz?full=1")) == [
        "GET /healthz?full=1 HTTP/1.1",
        "Host: 10.0.0.7:8080",
        "Connection: close",
        "User-Agent: kube-probe/handfast",
        "Accept: */*",
        "",
        "",
    ]


def test_the_probes_own_headers_win_and_an_empty_one_is_left_out() -> None:
    asked = lines(HttpProbe(80, headers=(("Host", "shop.example"), ("accept", ""), ("X-Probe", "1"), ("X-Probe", "2"))))
    assert "Host: shop.example" in asked
    assert not any(line.lower().startswith("accept") for line in asked)
    assert [line for line in asked if line.startswith("X-Probe")] == ["X-Probe: 1", "X-Probe: 2"]


def test_a_path_is_escaped_only_where_it_must_be() -> None:
    assert first_target(HttpProbe(80, "a b%20ü"), POD).path == "/a%20b%20%C3%BC"


def test_an_ipv6_pod_is_written_in_brackets() -> None:
    probe = HttpProbe(8080)
    assert b"Host: [fd00::7]:8080\r\n" in request_bytes(probe, first_target(probe, "fd00::7"))


def test_a_line_break_in_a_header_is_refused() -> None:
    with pytest.raises(BadInput, match="line break"):
        lines(HttpProbe(80, headers=(("X", "1\r\nEvil: 1"),)))


HERE = Target(tls=False, host=POD, port=8080, path="/a/b")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/login?x=1", Target(False, POD, 8080, "/login?x=1")),
        ("c", Target(False, POD, 8080, "/a/c")),
        (f"https://{POD}/", Target(True, POD, 443, "/")),
        (f"http://{POD}:9090/x", Target(False, POD, 9090, "/x")),
        ("http://elsewhere.example/", None),
        ("ftp://10.0.0.7/", None),
        ("http://10.0.0.7:99999/", None),
        ("http://[", None),
        ("", None),
    ],
)
def test_a_redirect_is_followed_on_the_same_host_only(location: str, expected: Target | None) -> None:
    assert next_target(HERE, ResponseHead(302, location)) == expected


def test_only_redirects_redirect() -> None:
    assert next_target(HERE, ResponseHead(200, "/login")) is None
    assert next_target(HERE, ResponseHead(304, "/login")) is None


def test_a_chunked_body_is_put_together() -> None:
    assert dechunk(b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\n\r\n") == (b"hello!", True)
    assert dechunk(b"5\r\nhel") == (b"hel", False)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_response_or_refused(data: bytes) -> None:
    for parse in (parse_head, dechunk):
        try:
            parse(data)
        except BadInput:
            continue


@given(st.text(max_size=60))
def test_any_location_is_followed_or_not(location: str) -> None:
    target = next_target(HERE, ResponseHead(301, location))
    assert target is None or (target.host == POD and "\r" not in target.path and " " not in target.path)
