"""The proxy's environment, as the webhook writes it; what cannot be read keeps the proxy from starting."""

import pytest

from handfast_sidecar.config.upstreams import Upstream
from handfast_sidecar.errors import BadConfig
from handfast_sidecar.settings import Settings

POD = {"HANDFAST_POD_IPS": "10.244.0.7,fd00::7"}


def test_a_proxy_that_is_told_nothing_else_is_redirected_to_and_has_no_upstreams() -> None:
    settings = Settings.from_environment(POD)
    assert (settings.redirected, settings.upstreams) == (True, ())


def test_explicit_mode_and_upstreams_are_read() -> None:
    settings = Settings.from_environment(
        {**POD, "HANDFAST_INTERCEPTION": "none", "HANDFAST_UPSTREAMS": "15432=db.shop:5432"}
    )
    assert (settings.redirected, settings.upstreams) == (False, (Upstream(15432, "db.shop", 5432),))


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("HANDFAST_INTERCEPTION", "no", "HANDFAST_INTERCEPTION is 'no': expected 'redirect' or 'none'"),
        ("HANDFAST_INTERCEPTION", "", "HANDFAST_INTERCEPTION is ''"),
        ("HANDFAST_UPSTREAMS", "80=a:1", "HANDFAST_UPSTREAMS: '80=a:1' has the local port 80"),
        ("HANDFAST_POD_IPS", "", "HANDFAST_POD_IPS is empty"),
    ],
)
def test_a_variable_that_cannot_be_read_is_named(name: str, value: str, sentence: str) -> None:
    with pytest.raises(BadConfig, match=sentence):
        Settings.from_environment({**POD, name: value})
