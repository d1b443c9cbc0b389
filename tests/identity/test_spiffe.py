import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.errors import BadSpiffeId
from handfast_sidecar.identity.spiffe import SpiffeId

trust_domains = st.text("abcz019.-_", min_size=1, max_size=30)
segments = st.text("abzAZ019.-_", min_size=1, max_size=10).filter(lambda segment: segment not in {".", ".."})


@given(trust_domains, st.lists(segments, min_size=1, max_size=5))
def test_parsing_and_printing_are_inverses(trust_domain: str, path: list[str]) -> None:
    uri = f"spiffe://{trust_domain}/{'/'.join(path)}"
    parsed = SpiffeId.parse(uri)
    assert str(parsed) == uri
    assert SpiffeId.parse(str(parsed)) == parsed


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_one_identity_or_none(authority: str, path: str) -> None:
    for uri in (authority, f"spiffe://{authority}", f"spiffe://{authority}/{path}"):
        try:
            assert str(SpiffeId.parse(uri)) == uri
        except BadSpiffeId:
            continue


@pytest.mark.parametrize(
    "uri",
    [
        "SPIFFE://a/b",
        "spiffe:/a/b",
        "spiffe://A/b",
        "spiffe:///b",
        "spiffe://a",
        "spiffe://a/",
        "spiffe://a//b",
        "spiffe://a/b/",
        "spiffe://a/./b",
        "spiffe://a/../b",
        "spiffe://a/b?c",
        "spiffe://a/b#c",
        "spiffe://a/%62",
        "spiffe://a:1/b",
        "spiffe://u@a/b",
        "spiffe://a/b\n",
        "spiffe://a/b\u00e9",
        f"spiffe://a/{'b' * 2048}",
        f"spiffe://{'a' * 256}/b",
    ],
)
def test_what_could_be_a_second_spelling_of_a_name_is_refused(uri: str) -> None:
    with pytest.raises(BadSpiffeId):
        SpiffeId.parse(uri)


def test_a_pods_identity_is_its_service_account() -> None:
    assert str(SpiffeId.of_service_account("a.example", "shop", "cart")) == "spiffe://a.example/ns/shop/sa/cart"
