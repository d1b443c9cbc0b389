"""A host port under a policy that refuses plaintext."""

import pytest

from handfast_operator.cluster.objects import ContainerPort, Pod, parse_pod
from handfast_operator.obstacles.host_ports import host_port_findings
from handfast_sidecar.policy.effective import EffectivePolicy, Mode, ModeRule
from support.objects import pod

STRICT = EffectivePolicy(ModeRule(Mode.STRICT, "MTLSPolicy shop/strict"))
HOST = (ContainerPort("http", 8080, 80),)


def test_strict_is_told_with_the_policy_and_the_way_out() -> None:
    [found] = host_port_findings(pod("shop", "web", ports=HOST), STRICT)
    assert found.reason == "HostPortPlaintext"
    assert found.sentence == (
        "port 80 of the node leads to port 8080 of the pod (hostPort): clients there have no sidecar, and MTLSPolicy "
        "shop/strict asks for Strict, so they are refused (plaintext_refused); let an MTLSPolicy allow plaintext there "
        "(ports: [{port: 8080, mode: Permissive}]), or remove the hostPort"
    )


@pytest.mark.parametrize(
    ("found", "policy"),
    [
        (pod("shop", "web", ports=HOST), EffectivePolicy()),
        (pod("shop", "web", ports=HOST), EffectivePolicy(ModeRule(Mode.DISABLED))),
        (
            pod("shop", "web", ports=HOST),
            EffectivePolicy(ModeRule(Mode.STRICT), {8080: ModeRule(Mode.PERMISSIVE)}),
        ),
        (pod("shop", "web", ports=(ContainerPort("http", 8080),)), STRICT),
        (pod("shop", "web", ports=HOST, meshed=False), STRICT),
        (pod("shop", "web", ports=HOST, phase="Succeeded"), STRICT),
        (pod("shop", "web", ports=HOST, deleting=True), STRICT),
    ],
)
def test_where_plaintext_is_served_or_nobody_is_asked_nothing_is_told(found: Pod, policy: EffectivePolicy) -> None:
    assert host_port_findings(found, policy) == []


def test_the_pods_of_one_owner_are_one_subject() -> None:
    first, second = (
        host_port_findings(pod("shop", name, ports=HOST, owner="DaemonSet/web"), STRICT) for name in ("a", "b")
    )
    assert first[0].subject == second[0].subject
    alone = host_port_findings(pod("shop", "c", ports=HOST), STRICT)
    assert alone[0].subject != first[0].subject


def test_the_ports_of_a_pod_are_the_tcp_ports_of_its_containers_that_stay() -> None:
    raw = {
        "metadata": {"namespace": "shop", "name": "web", "uid": "u", "resourceVersion": "1"},
        "spec": {
            "initContainers": [
                {"name": "setup", "ports": [{"containerPort": 1}]},
                {
                    "name": "handfast-proxy",
                    "restartPolicy": "Always",
                    "ports": [{"name": "handfast-mesh", "containerPort": 14008}],
                },
                {"name": "logs", "restartPolicy": "Always", "ports": [{"containerPort": 24224}]},
            ],
            "containers": [
                {"name": "app", "ports": [{"name": "http", "containerPort": 8080, "hostPort": 80, "protocol": "TCP"}]},
                {"name": "dns", "ports": [{"containerPort": 53, "protocol": "UDP"}]},
                {"name": "idle"},
            ],
        },
    }
    assert parse_pod(raw).ports == (
        ContainerPort("handfast-mesh", 14008),
        ContainerPort("", 24224),
        ContainerPort("http", 8080, 80),
    )


@pytest.mark.parametrize(
    ("spec", "windows"),
    [
        ({}, False),
        ({"os": {"name": "linux"}}, False),
        ({"os": {"name": "windows"}}, True),
        ({"nodeSelector": {"kubernetes.io/os": "windows"}}, True),
    ],
)
def test_a_pod_that_asks_for_windows_is_known(spec: dict[str, object], windows: bool) -> None:
    raw = {"metadata": {"namespace": "shop", "name": "web", "uid": "u", "resourceVersion": "1"}, "spec": spec}
    assert parse_pod(raw).windows is windows
