"""Variables and the downward API."""

from collections.abc import Mapping
from typing import Any

import pytest

from handfast_lab.node.credentials import CannotConfigure, credentials
from handfast_lab.node.environment import command_line, environment, expand
from handfast_lab.node.seams import ImageSpec
from lab.node.stage import NODE

POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"app": "shop"}, "annotations": {"a/b": "c"}},
    "spec": {"serviceAccountName": "seller"},
}
IMAGE = ImageSpec(("/entry",), {"IMAGE": "1"})
HELD = {("secrets", "s"): {"k": b"v", "l": b"w"}, ("configmaps", "c"): {"m": b"n"}}


def held(resource: str, name: str) -> Mapping[str, bytes] | None:
    return HELD.get((resource, name))


def variables(*env: dict[str, Any], **fields: Any) -> dict[str, str]:
    return environment(POD, {"env": env, **fields}, IMAGE, NODE, ("192.0.2.1", "2001:db8::1"), held)


def test_values_refer_to_what_stands_before_them() -> None:
    found = variables({"name": "A", "value": "1"}, {"name": "B", "value": "$(A) $(C) $$(A) $(IMAGE)"})
    assert found["B"] == "1 $(C) $(A) 1"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.uid", "u"),
        ("metadata.labels['app']", "shop"),
        ("metadata.annotations['a/b']", "c"),
        ("spec.nodeName", "lab"),
        ("spec.serviceAccountName", "seller"),
        ("status.podIP", "192.0.2.1"),
        ("status.podIPs", "192.0.2.1,2001:db8::1"),
        ("status.hostIP", "127.0.0.1"),
    ],
)
def test_fields_of_the_pod(path: str, value: str) -> None:
    assert variables({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}})["A"] == value


def test_keys_of_secrets_and_config_maps() -> None:
    found = variables(
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "k", "optional": True}}},
        envFrom=[{"secretRef": {"name": "s"}, "prefix": "P_"}, {"configMapRef": {"name": "c"}}],
    )
    assert {key: found.get(key) for key in ("A", "B", "P_k", "P_l", "m")} == {
        "A": "v",
        "B": None,
        "P_k": "v",
        "P_l": "w",
        "m": "n",
    }


def test_what_is_missing_is_named() -> None:
    with pytest.raises(CannotConfigure, match='secret "none" not found'):
        variables({"name": "A", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k"}}})
    with pytest.raises(CannotConfigure, match="couldn't find key x"):
        variables({"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "x"}}})


def test_the_api_servers_address_is_given() -> None:
    found = variables()
    assert (found["KUBERNETES_SERVICE_HOST"], found["KUBERNETES_SERVICE_PORT"]) == ("10.96.0.1", "443")


def test_a_command_replaces_the_entry_point_and_arguments_follow() -> None:
    assert command_line({"args": ["$(A)"]}, IMAGE, {"A": "b"}) == ["/entry", "b"]
    assert command_line({"command": ["x"], "args": ["y"]}, IMAGE, {}) == ["x", "y"]
    assert expand("$(A", {"A": "b"}) == "$(A"


def test_a_container_that_must_not_be_root_is_not() -> None:
    with pytest.raises(CannotConfigure, match="runAsNonRoot"):
        credentials(POD, {"securityContext": {"runAsNonRoot": True}}, IMAGE)
    assert credentials(POD, {"securityContext": {"runAsNonRoot": True, "runAsUser": 7}}, IMAGE).user == 7


def test_an_unknown_capability_is_named() -> None:
    with pytest.raises(CannotConfigure, match="unknown capability: FLY"):
        credentials(POD, {"securityContext": {"capabilities": {"add": ["FLY"]}}}, IMAGE)
