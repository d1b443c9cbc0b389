"""What the chart writes into the environment, and what is said of a value that cannot be used."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from handfast_operator.settings import Settings
from handfast_sidecar.errors import BadConfig


def test_without_an_environment_everything_has_its_documented_default() -> None:
    settings = Settings.from_environment({})
    assert settings == Settings()
    assert (settings.namespace, settings.trust_domain) == ("handfast-system", "cluster.local")
    assert str(settings.directory_id) == "spiffe://cluster.local/ns/handfast-system/sa/handfast-directory"


def test_every_variable_is_read() -> None:
    settings = Settings.from_environment(
        {
            "HANDFAST_NAMESPACE": "mesh",
            "HANDFAST_POD_NAME": "c-1",
            "HANDFAST_TRUST_DOMAIN": "corp.example",
            "HANDFAST_SIDECAR_IMAGE": "sidecar:2",
            "HANDFAST_SIDECAR_PULL_POLICY": "Always",
            "HANDFAST_SIDECAR_RESOURCES": '{"limits": {"memory": "64Mi"}}',
            "HANDFAST_SIDECAR_LOG_LEVEL": "warning",
            "HANDFAST_ISSUER_SECRET": "corporate-ca",
            "HANDFAST_CLUSTER_RANGES": "10.0.0.0/8, fd00::/8",
            "HANDFAST_LOG_LEVEL": "debug",
            "HANDFAST_TLS_DIR": "/tls",
            "HANDFAST_TEST_NAMESPACE": "sandbox",
        }
    )
    assert settings == Settings(
        namespace="mesh",
        pod_name="c-1",
        trust_domain="corp.example",
        sidecar_image="sidecar:2",
        sidecar_pull_policy="Always",
        sidecar_resources={"limits": {"memory": "64Mi"}},
        sidecar_log_level="warning",
        issuer_secret="corporate-ca",
        cluster_ranges=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
        log_level="debug",
        tls_dir=Path("/tls"),
        test_namespace="sandbox",
    )


def test_sidecars_log_as_the_operator_does_unless_told_otherwise() -> None:
    assert Settings.from_environment({"HANDFAST_LOG_LEVEL": "debug"}).sidecar_log_level == "debug"


def test_two_controllers_of_one_environment_have_the_names_of_their_hosts() -> None:
    assert Settings.from_environment({"HOSTNAME": "controller-5d9f"}).pod_name == "controller-5d9f"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HANDFAST_TRUST_DOMAIN", "Corp.Example"),
        ("HANDFAST_CLUSTER_RANGES", "10.0.0.1/8"),
        ("HANDFAST_CLUSTER_RANGES", "pods"),
        ("HANDFAST_SIDECAR_RESOURCES", "{"),
        ("HANDFAST_SIDECAR_RESOURCES", "[]"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(BadConfig, match=name):
        Settings.from_environment({name: value})
