"""What a pod becomes, and which pods may not start."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_operator.admission.containers import TOKEN_PATH, InjectionOptions
from handfast_operator.admission.injection import Injected, Outcome, Refused, Skipped, inject
from handfast_operator.admission.review import patch_between
from handfast_sidecar.config.probes import GrpcProbe, HttpProbe, ProbeTable, TcpProbe
from handfast_sidecar.wellknown import ENV_PROBES, SIDECAR_PORTS

OPTIONS = InjectionOptions("handfast-system", "sidecar:1", resources={"limits": {"memory": "64Mi"}})
ENABLED = {"handfast.dev/inject": "enabled"}


def pod(**spec: Any) -> dict[str, Any]:
    container = {"name": "app", "image": "app:1", "ports": [{"name": "http", "containerPort": 8080}]}
    return {"metadata": {"name": "orders", "labels": {}}, "spec": {"containers": [container], **spec}}


def outcome(raw: dict[str, Any], labels: dict[str, str] | None = None, namespace: str = "shop") -> Outcome:
    return inject(raw, namespace, ENABLED if labels is None else labels, OPTIONS, lambda: "0123456789")


def injected(raw: dict[str, Any]) -> dict[str, Any]:
    result = outcome(raw)
    assert isinstance(result, Injected)
    return result.pod


def with_probe(**handler: Any) -> dict[str, Any]:
    raw = pod()
    raw["spec"]["containers"][0]["readinessProbe"] = {"periodSeconds": 7, "timeoutSeconds": 3, **handler}
    return raw


def originals(raw: dict[str, Any]) -> ProbeTable:
    proxy = raw["spec"]["initContainers"][1]
    return ProbeTable.parse(next(each["value"] for each in proxy["env"] if each["name"] == ENV_PROBES))


def test_our_containers_come_before_all_other_init_containers() -> None:
    spec = injected(pod(initContainers=[{"name": "migrate", "image": "m"}]))["spec"]
    assert [each["name"] for each in spec["initContainers"]] == ["handfast-init", "handfast-proxy", "migrate"]
    assert spec["initContainers"][1]["restartPolicy"] == "Always"
    assert spec["initContainers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}


def test_the_proxy_satisfies_the_restricted_pod_security_standard() -> None:
    context = injected(pod())["spec"]["initContainers"][1]["securityContext"]
    assert context["runAsNonRoot"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_the_secret_is_named_after_the_pod_and_mounted_by_the_proxy_alone() -> None:
    spec = injected(pod())["spec"]
    [identity] = [each for each in spec["volumes"] if each["name"] == "handfast-identity"]
    assert identity["secret"] == {"secretName": "orders-handfast-0123456789", "defaultMode": 0o444}
    mounts = {
        each["name"]: {mount["name"] for mount in each.get("volumeMounts", ())} for each in spec["initContainers"]
    }
    assert "handfast-identity" in mounts["handfast-proxy"]
    assert "handfast-identity" not in mounts["handfast-init"]


def test_no_container_of_ours_gets_an_api_token() -> None:
    for container in injected(pod())["spec"]["initContainers"]:
        assert TOKEN_PATH in [mount["mountPath"] for mount in container["volumeMounts"]]


@pytest.mark.parametrize(
    ("handler", "original"),
    [
        (
            {"httpGet": {"path": "/ok", "port": "http", "httpHeaders": [{"name": "Host", "value": "a"}]}},
            HttpProbe(8080, "/ok", headers=(("Host", "a"),), timeout_s=3),
        ),
        ({"tcpSocket": {"port": 5432}}, TcpProbe(5432, timeout_s=3)),
        ({"grpc": {"port": 9000, "service": "s"}}, GrpcProbe(9000, "s", timeout_s=3)),
    ],
)
def test_a_probe_is_asked_of_the_sidecar_which_knows_the_original(handler: dict[str, Any], original: object) -> None:
    result = injected(with_probe(**handler))
    assert result["spec"]["containers"][0]["readinessProbe"] == {
        "periodSeconds": 7,
        "timeoutSeconds": 3,
        "httpGet": {"path": "/probe/app/readiness", "port": 14020, "scheme": "HTTP"},
    }
    assert originals(result).probes == {"/probe/app/readiness": original}


def test_hooks_are_asked_of_the_sidecar_too_and_commands_stay() -> None:
    raw = pod()
    raw["spec"]["containers"][0]["lifecycle"] = {
        "preStop": {"httpGet": {"path": "/bye", "port": 8080}},
        "postStart": {"exec": {"command": ["true"]}},
    }
    raw["spec"]["containers"][0]["livenessProbe"] = {"exec": {"command": ["true"]}}
    container = injected(raw)["spec"]["containers"][0]
    assert container["lifecycle"]["preStop"]["httpGet"]["path"] == "/probe/app/preStop"
    assert container["lifecycle"]["postStart"] == {"exec": {"command": ["true"]}}
    assert container["livenessProbe"] == {"exec": {"command": ["true"]}}


def test_injecting_twice_is_injecting_once() -> None:
    once = injected(with_probe(httpGet={"port": "http"}))
    assert injected(copy.deepcopy(once)) == once
    assert patch_between(once, injected(copy.deepcopy(once))) == []


def test_a_container_that_another_webhook_added_is_injected_as_well() -> None:
    raw = injected(with_probe(httpGet={"port": "http"}))
    raw["spec"]["containers"].append({"name": "late", "livenessProbe": {"tcpSocket": {"port": 99}}})
    again = injected(raw)
    assert set(originals(again).probes) == {"/probe/app/readiness", "/probe/late/liveness"}


def test_a_volume_that_only_pretends_to_be_ours_gets_a_new_secret() -> None:
    raw = pod(volumes=[{"name": "handfast-identity", "secret": {"secretName": "somebody-elses"}}])
    volumes = injected(raw)["spec"]["volumes"]
    assert [each["secret"]["secretName"] for each in volumes if "secret" in each] == ["orders-handfast-0123456789"]


@pytest.mark.parametrize(
    ("raw", "labels", "namespace", "sentence"),
    [
        (pod(hostNetwork=True), ENABLED, "shop", "host's network"),
        (pod(), {}, "shop", "neither the pod nor its namespace"),
        (pod(), ENABLED, "kube-system", "never injected"),
        (pod(), ENABLED, "handfast-system", "never injected"),
        (pod(os={"name": "windows"}), ENABLED, "shop", "Windows"),
    ],
)
def test_a_pod_that_is_left_alone_has_a_reason(
    raw: dict[str, Any], labels: dict[str, str], namespace: str, sentence: str
) -> None:
    result = outcome(raw, labels, namespace)
    assert isinstance(result, Skipped)
    assert sentence in result.reason


def test_a_pod_opts_out_of_its_namespace_and_in_where_its_namespace_did_not() -> None:
    out, own = pod(), pod()
    out["metadata"]["labels"] = {"handfast.dev/inject": "disabled"}
    own["metadata"]["labels"] = ENABLED
    assert isinstance(outcome(out), Skipped)
    assert isinstance(outcome(own, {}), Injected)


def refused_pods() -> list[tuple[dict[str, Any], dict[str, str], str]]:
    as_us, container_as_us, unknown = (
        pod(securityContext={"runAsUser": 7443}),
        pod(),
        with_probe(httpGet={"port": "web"}),
    )
    container_as_us["spec"]["containers"][0]["securityContext"] = {"runAsUser": 7443}
    cases = [(as_us, ENABLED, "runs as user 7443"), (container_as_us, ENABLED, "'app' runs as user 7443")]
    for port in sorted(SIDECAR_PORTS):
        taken = pod()
        taken["spec"]["containers"][0]["ports"] = [{"containerPort": port}]
        cases.append((taken, ENABLED, f"port {port}, which belongs to the sidecar"))
    cases += [
        (pod(), {**ENABLED, "pod-security.kubernetes.io/enforce": level}, "forbids NET_ADMIN")
        for level in ("baseline", "restricted")
    ]
    cases.append((unknown, ENABLED, "names the port 'web'"))
    return cases


@pytest.mark.parametrize(("raw", "labels", "sentence"), refused_pods())
def test_a_pod_that_may_not_start_is_told_why(raw: dict[str, Any], labels: dict[str, str], sentence: str) -> None:
    result = outcome(raw, labels)
    assert isinstance(result, Refused)
    assert sentence in result.message


_CONTAINERS = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b", "c"])},
    optional={
        "readinessProbe": st.sampled_from([{"tcpSocket": {"port": 1}}, {"httpGet": {"port": 2}}, {"exec": {}}]),
        "livenessProbe": st.sampled_from([{"grpc": {"port": 1}}, {"tcpSocket": {"port": "3"}}]),
        "restartPolicy": st.just("Always"),
    },
)


@given(
    st.lists(_CONTAINERS, min_size=1, unique_by=lambda each: each["name"]),
    st.lists(_CONTAINERS, unique_by=lambda each: each["name"]),
    st.lists(st.fixed_dictionaries({"name": st.sampled_from(["v", "w", "handfast-cache"])})),
)
def test_the_patch_gives_the_injected_pod_and_a_second_call_changes_nothing(
    containers: list[dict[str, Any]], init: list[dict[str, Any]], volumes: list[dict[str, Any]]
) -> None:
    raw = {
        "metadata": {"generateName": "web-"},
        "spec": {"containers": containers, "initContainers": init, "volumes": volumes},
    }
    result = injected(copy.deepcopy(raw))
    patched = copy.deepcopy(raw)
    for operation in patch_between(raw, result):
        patched["spec"][operation["path"].removeprefix("/spec/")] = operation["value"]
    assert patched == result
    assert injected(copy.deepcopy(result)) == result
