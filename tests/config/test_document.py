"""config.json: what the operator writes is what the sidecar reads, and nothing else passes."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.config.document import DirectoryAddress, SidecarConfig, parse_ranges
from handfast_sidecar.errors import BadConfig
from handfast_sidecar.identity.revocation import Revocation, Revocations
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import EffectivePolicy, ForeignRule, Mode, ModeRule, TlsVersion

CONFIG = SidecarConfig(
    revision=17,
    trust_domain="cluster.local",
    policy=EffectivePolicy(
        ModeRule(Mode.STRICT, "MTLSPolicy shop/orders"), {9090: ModeRule(Mode.PERMISSIVE, "MTLSPolicy shop/orders")}
    ),
    directory=DirectoryAddress(
        "10.96.0.9", 14010, SpiffeId.of_service_account("cluster.local", "handfast-system", "handfast-directory")
    ),
    cluster_ranges=parse_ranges(["10.96.0.0/16", "fd00:10:244::/56"]),
)
GOLDEN = (
    '{"clusterRanges":["10.96.0.0/16","fd00:10:244::/56"],"directory":{"host":"10.96.0.9","port":14010,'
    '"spiffeId":"spiffe://cluster.local/ns/handfast-system/sa/handfast-directory"},'
    '"policy":{"from":"MTLSPolicy shop/orders","mode":"Strict","ports":{"9090":{"from":"MTLSPolicy shop/orders",'
    '"mode":"Permissive"}}},"revision":17,"schema":1,"trustDomain":"cluster.local"}'
)


def test_the_golden_bytes_of_config_json() -> None:
    assert CONFIG.dump() == GOLDEN


def test_config_json_is_read_as_it_was_written() -> None:
    assert SidecarConfig.parse(GOLDEN) == CONFIG


def test_the_golden_bytes_of_who_is_revoked() -> None:
    revoked = Revocations(91, (Revocation(serial="1f", reason="stolen", until=1767323042),))
    text = replace(CONFIG, revoked=revoked).dump()
    part = '"revoked":{"entries":[{"reason":"stolen","serial":"1f","until":1767323042}],"revision":91},'
    assert text == GOLDEN.replace('"schema":1', f'{part}"schema":1')
    assert SidecarConfig.parse(text).revoked == revoked


def test_a_list_of_who_is_revoked_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(BadConfig, match="revoked"):
        SidecarConfig.parse(GOLDEN.replace('"schema":1', '"revoked":{"entries":[]},"schema":1'))


def test_the_golden_bytes_of_a_policy_with_foreign_ports() -> None:
    foreign = ForeignRule(frozenset({9443, 8443}), TlsVersion.TLS_1_2, "MTLSPolicy shop/orders")
    policy = EffectivePolicy(ModeRule(Mode.STRICT), {}, foreign)
    document = {
        "mode": "Strict",
        "from": "default",
        "ports": {},
        "foreign": {"ports": [8443, 9443], "minVersion": "1.2", "from": "MTLSPolicy shop/orders"},
    }
    assert policy.to_json() == document
    assert EffectivePolicy.from_json(document) == policy


def test_a_field_of_a_later_version_is_ignored() -> None:
    assert SidecarConfig.parse(json.dumps({**json.loads(GOLDEN), "weather": "fine"})) == CONFIG


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": 2}, "restart the pod"),
        ({"trustDomain": "Upper.Case"}, "no trust domain"),
        ({"policy": {"mode": "Off"}}, "expected one of Strict, Permissive, Disabled"),
        ({"policy": {"mode": "Strict", "ports": {"0": {"mode": "Strict"}}}}, "no port number"),
        ({"policy": {"mode": "Strict", "foreign": []}}, "policy.foreign: expected an object"),
        ({"policy": {"mode": "Strict", "foreign": {"minVersion": "1.3"}}}, "expected a list of port numbers"),
        ({"policy": {"mode": "Strict", "foreign": {"ports": [True], "minVersion": "1.3"}}}, "list of port numbers"),
        ({"policy": {"mode": "Strict", "foreign": {"ports": [0], "minVersion": "1.3"}}}, "list of port numbers"),
        ({"policy": {"mode": "Strict", "foreign": {"ports": [1]}}}, "expected one of 1.2, 1.3, found None"),
        ({"policy": {"mode": "Strict", "foreign": {"ports": [1], "minVersion": "1.1"}}}, "found '1.1'"),
        ({"clusterRanges": ["10.0.0.1/8"]}, "host bits"),
        ({"directory": {"host": "x", "port": 1, "spiffeId": "spiffe://x"}}, "no path"),
        ({"directory": {}}, "'host' is missing"),
    ],
)
def test_a_wrong_field_is_refused_with_a_sentence(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadConfig, match=sentence):
        SidecarConfig.parse(json.dumps({**json.loads(GOLDEN), **change}))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_arbitrary_json_raises_nothing_but_bad_config(document: object) -> None:
    with pytest.raises(BadConfig):
        SidecarConfig.parse(json.dumps(document))


def test_an_address_of_the_other_family_is_never_in_the_cluster() -> None:
    assert CONFIG.in_cluster("10.96.3.4")
    assert CONFIG.in_cluster("fd00:10:244::7")
    assert not CONFIG.in_cluster("192.0.2.1")
    assert not CONFIG.in_cluster("2001:db8::1")
