"""How the ends of a connection are written."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_operator.cli.errors import USAGE, CliError
from handfast_operator.cli.subject import Subject, parse_destination, parse_subject


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("cart-0", Subject("", "shop", "cart-0")),
        ("web/cart-0", Subject("", "web", "cart-0")),
        ("pod/cart-0", Subject("pod", "shop", "cart-0")),
        ("deploy/cart", Subject("deployment", "shop", "cart")),
        ("web/Deployment/cart", Subject("deployment", "web", "cart")),
        ("web/sa/cart", Subject("serviceaccount", "web", "cart")),
        ("pod/pod/cart", Subject("pod", "pod", "cart")),
    ],
)
def test_a_name_may_have_a_kind_and_a_namespace(text: str, meant: Subject) -> None:
    assert parse_subject(text, "shop") == meant


@pytest.mark.parametrize("text", ["", "/", "a/b/c/d", "web/", "/cart", "web/thing/cart", "web//cart"])
def test_what_names_nothing_is_refused_as_usage(text: str) -> None:
    with pytest.raises(CliError) as caught:
        parse_subject(text, "shop")
    assert caught.value.code == USAGE


@pytest.mark.parametrize(
    ("text", "meant", "port"),
    [
        ("orders:8080", Subject("", "shop", "orders"), "8080"),
        ("service/orders:http", Subject("service", "shop", "orders"), "http"),
        ("orders.web:80", Subject("service", "web", "orders"), "80"),
        ("orders.web.svc:80", Subject("service", "web", "orders"), "80"),
        ("orders.web.svc.cluster.local.:80", Subject("service", "web", "orders"), "80"),
        ("web/pod/orders.0:80", Subject("pod", "web", "orders.0"), "80"),
        ("10.0.0.1:80", Subject("address", "", "10.0.0.1"), "80"),
        ("[FD00::7]:80", Subject("address", "", "fd00::7"), "80"),
    ],
)
def test_a_destination_is_what_an_application_dials(text: str, meant: Subject, port: str) -> None:
    assert parse_destination(text, "shop") == (meant, port)


@pytest.mark.parametrize("text", ["orders", ":80", "orders:", "fd00::7", "example.com.org:443", "a.b.c.d.e:1"])
def test_a_destination_that_is_none_is_refused_as_usage(text: str) -> None:
    with pytest.raises(CliError) as caught:
        parse_destination(text, "shop")
    assert caught.value.code == USAGE


@given(st.text(max_size=40))
def test_any_text_is_a_subject_or_refused_in_a_sentence(text: str) -> None:
    for parse in (parse_subject, parse_destination):
        with suppress(CliError):
            parse(text, "shop")
