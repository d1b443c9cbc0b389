"""What a pod's owner wishes of its sidecar, and which wishes are refused."""

from typing import Any

import pytest

from handfast_operator.admission.annotations import UnusableAnnotation, Wishes, read_annotations
from handfast_sidecar.config.ports import PortRange
from handfast_sidecar.config.skips import Skips, parse_cidrs
from handfast_sidecar.config.upstreams import Upstream

APPLICATIONS: list[dict[str, Any]] = [
    {"name": "app", "ports": [{"containerPort": 8080}, {"containerPort": 9053, "protocol": "UDP"}]},
    {"name": "quiet"},
]


def read(**annotations: str) -> Wishes:
    """By their names without the prefix, underscores for dashes."""
    named = {f"handfast.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}
    return read_annotations(named, APPLICATIONS)


def test_a_pod_without_annotations_is_redirected_and_skips_nothing() -> None:
    wishes = read_annotations({"other/annotation": "x"}, APPLICATIONS)
    assert wishes == Wishes(redirected=True)
    assert (wishes.of_init(), wishes.of_proxy()) == ({}, {})
    assert read(interception="redirect") == wishes


def test_what_is_skipped_is_told_to_the_init_container() -> None:
    wishes = read(
        skip_inbound_ports="9090", skip_outbound_ports="5432,6000-6010", skip_outbound_cidrs="10.9.0.0/16,fd09::/16"
    )
    assert wishes.skips == Skips(
        (PortRange(9090, 9090),),
        (PortRange(5432, 5432), PortRange(6000, 6010)),
        parse_cidrs("10.9.0.0/16,fd09::/16"),
    )
    assert wishes.of_init() == {
        "HANDFAST_SKIP_INBOUND_PORTS": "9090",
        "HANDFAST_SKIP_OUTBOUND_PORTS": "5432,6000-6010",
        "HANDFAST_SKIP_OUTBOUND_CIDRS": "10.9.0.0/16,fd09::/16",
    }
    assert wishes.of_proxy() == {}


def test_explicit_mode_and_upstreams_are_told_to_the_proxy() -> None:
    wishes = read(interception="none", upstreams="15432=db.shop:5432\n19053=dns.shop:53")
    assert not wishes.redirected
    assert wishes.upstreams == (Upstream(15432, "db.shop", 5432), Upstream(19053, "dns.shop", 53))
    assert wishes.of_proxy() == {
        "HANDFAST_INTERCEPTION": "none",
        "HANDFAST_LOOPBACK_PORTS": "8080",
        "HANDFAST_UPSTREAMS": "15432=db.shop:5432,19053=dns.shop:53",
    }


def test_upstreams_are_there_beside_interception_too() -> None:
    wishes = read(upstreams="15432=db.shop:5432")
    assert wishes.redirected
    assert wishes.of_proxy() == {"HANDFAST_UPSTREAMS": "15432=db.shop:5432"}


@pytest.mark.parametrize(
    ("annotations", "sentence"),
    [
        ({"interception": "off"}, "its annotation handfast.dev/interception is 'off': expected 'redirect', or 'none'"),
        ({"interception": ""}, "handfast.dev/interception is ''"),
        ({"skip_inbound_ports": "14008"}, "handfast.dev/skip-inbound-ports cannot be used: '14008' has port 14008"),
        ({"skip_inbound_ports": "14020"}, "which belongs to the sidecar"),
        ({"skip_outbound_ports": "x"}, "handfast.dev/skip-outbound-ports cannot be used: 'x' is no port"),
        ({"skip_outbound_cidrs": "x"}, "handfast.dev/skip-outbound-cidrs cannot be used: 'x' is no network"),
        ({"upstreams": "x"}, "handfast.dev/upstreams cannot be used: 'x' is no upstream"),
        ({"upstreams": "8080=db:1"}, "port 8080 is declared by the container 'app': choose another local port"),
        (
            {"interception": "none", "skip_inbound_ports": " ", "skip_outbound_ports": "80"},
            "handfast.dev/skip-outbound-ports, and handfast.dev/interception: none, where nothing is redirected",
        ),
    ],
)
def test_a_wish_that_cannot_be_followed_is_refused(annotations: dict[str, str], sentence: str) -> None:
    with pytest.raises(UnusableAnnotation) as refused:
        read(**annotations)
    assert sentence in str(refused.value)


def test_the_sidecars_own_reading_of_its_environment_is_the_annotations() -> None:
    wishes = read(interception="none", upstreams="15432=db.shop:5432,16379=[fd00::7]:6379")
    environment: dict[str, Any] = {"HANDFAST_POD_IPS": "10.0.0.1", **wishes.of_proxy()}
    from handfast_sidecar.settings import Settings

    settings = Settings.from_environment(environment)
    assert (settings.redirected, settings.upstreams) == (wishes.redirected, wishes.upstreams)
