"""Whom a pattern means, and which patterns are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.errors import BadInput
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.principals import Principal, beginnings

CART = SpiffeId.parse("spiffe://cluster.local/ns/shop/sa/cart")
SEGMENTS = st.text("ab.-_9", min_size=1, max_size=3).filter(lambda each: each not in {".", ".."})
PATHS = st.lists(SEGMENTS, min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("pattern", "means_cart"),
    [
        ("spiffe://cluster.local/ns/shop/sa/cart", True),
        ("spiffe://cluster.local/ns/shop/sa/*", True),
        ("spiffe://cluster.local/ns/shop/*", True),
        ("spiffe://cluster.local/*", True),
        ("spiffe://cluster.local/ns/shop/sa/car", False),
        ("spiffe://cluster.local/ns/sho/*", False),
        ("spiffe://cluster.local/ns/shop/sa/cart/*", False),
        ("spiffe://cluster.loca/*", False),
        ("spiffe://other/ns/shop/sa/cart", False),
    ],
)
def test_a_pattern_means_whole_segments(pattern: str, means_cart: bool) -> None:
    assert Principal.parse(pattern).matches(CART) is means_cart


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "spiffe://*",
        "spiffe://cluster.local",
        "spiffe://cluster.local/ns/*/sa/cart",
        "spiffe://cluster.local/ns/shop/sa/ca*",
        "spiffe://cluster.local/ns/shop/sa/**",
        "spiffe://cluster.local/ns//sa/*",
        "spiffe://cluster.local/../*",
        "spiffe://Cluster.local/*",
        "https://cluster.local/*",
        "cluster.local/ns/shop/sa/cart",
    ],
)
def test_what_is_no_pattern_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(BadInput, match="last segments only"):
        Principal.parse(text)


@given(PATHS, st.integers(0, 4))
def test_a_pattern_is_found_by_the_beginnings_of_what_it_means(path: list[str], length: int) -> None:
    name = "spiffe://td/" + "/".join(path)
    start = "/".join(["spiffe://td", *path[:length]])
    pattern = Principal.parse(f"{start}/*")
    assert pattern.matches(SpiffeId.parse(name)) is (pattern.text in beginnings(name, pattern.text.count("/")))
    assert str(pattern) == f"{start}/*"
