"""What a pod becomes, and which pods may not start."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handfast_operator.admission.containers import TOKEN_PATH, InjectionOptions
from handfast_operator.admission.injection import Injected, Outcome, Refused, Skipped, inject
from handfast_operator.admission.patch import difference
from handfast_sidecar.config.probes import GrpcProbe, HttpProbe, ProbeTable, TcpProbe
from handfast_sidecar.wellknown import ENV_PROBES, SIDECAR_PORTS
from support.json_patch import applied

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


def annotated(raw: dict[str, Any] | None = None, **annotations: str) -> dict[str, Any]:
    """A pod with annotations, by their names without the prefix, underscores for dashes."""
    raw = pod() if raw is None else raw
    raw["metadata"]["annotations"] = {
        f"handfast.dev/{name.replace('_', '-')}": value for name, value in annotations.items()
    }
    return raw


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def secret_of(raw: dict[str, Any]) -> str:
    [volume] = [each for each in raw["spec"]["volumes"] if each["name"] == "handfast-identity"]
    return str(volume["secret"]["secretName"])


def originals(raw: dict[str, Any]) -> ProbeTable:
    proxy = raw["spec"]["initContainers"][1]
    return ProbeTable.parse(next(each["value"] for each in proxy["env"] if each["name"] == ENV_PROBES))


def test_our_containers_come_before_all_other_init_containers() -> None:
    spec = injected(pod(initContainers=[{"name": "migrate", "image": "m"}]))["spec"]
    assert [each["name"] for each in spec["initContainers"]] == ["handfast-init", "handfast-proxy", "migrate"]
    assert spec["initContainers"][1]["restartPolicy"] == "Always"
    assert spec["initContainers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}


@pytest.mark.parametrize("text", ["8080,9090", " 9090 , 8080,8080"])
def test_ports_whose_application_wants_to_know_its_caller_are_passed_to_the_proxy(text: str) -> None:
    proxy = injected(annotated(proxy_protocol_ports=text))["spec"]["initContainers"][1]
    assert {"name": "HANDFAST_PROXY_PROTOCOL_PORTS", "value": "8080,9090"} in proxy["env"]


def test_without_the_annotation_the_proxy_is_told_of_no_such_port() -> None:
    proxy = injected(pod())["spec"]["initContainers"][1]
    assert "HANDFAST_PROXY_PROTOCOL_PORTS" not in [each["name"] for each in proxy["env"]]


@pytest.mark.parametrize("text", ["http", "0", "8080,65536", "\u0668\u0660", "8080,14006", "1-100"])
def test_an_annotation_of_ports_that_cannot_be_read_refuses_the_pod(text: str) -> None:
    refused = outcome(annotated(proxy_protocol_ports=text))
    assert isinstance(refused, Refused)
    assert "its annotation handfast.dev/proxy-protocol-ports cannot be used: " in refused.message


def test_the_proxy_satisfies_the_restricted_pod_security_standard() -> None:
    context = injected(pod())["spec"]["initContainers"][1]["securityContext"]
    assert context["runAsNonRoot"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_the_init_container_is_told_what_to_skip() -> None:
    init, proxy = injected(annotated(skip_inbound_ports="9090", skip_outbound_cidrs="10.9.0.0/16"))["spec"][
        "initContainers"
    ]
    told = variables(init)
    assert (told["HANDFAST_SKIP_INBOUND_PORTS"], told["HANDFAST_SKIP_OUTBOUND_CIDRS"]) == ("9090", "10.9.0.0/16")
    assert not any(name.startswith("HANDFAST_SKIP") for name in variables(proxy))


def restricted_violations(spec: dict[str, Any]) -> list[str]:
    """What the restricted Pod Security Standard forbids in a pod's containers and volumes.

    Of https://kubernetes.io/docs/concepts/security/pod-security-standards/, what a pod of ours could have at all.
    """
    wrong = [each for each in ("hostNetwork", "hostPID", "hostIPC") if spec.get(each)]
    for container in (*spec["initContainers"], *spec["containers"]):
        context = container.get("securityContext") or {}
        capabilities = context.get("capabilities") or {}
        wrong += [
            f"{container['name']}: {what}"
            for what, fine in {
                "privileged": not context.get("privileged"),
                "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation") is False,
                "capabilities.drop": "ALL" in capabilities.get("drop", ()),
                "capabilities.add": set(capabilities.get("add", ())) <= {"NET_BIND_SERVICE"},
                "runAsNonRoot": context.get("runAsNonRoot") is True,
                "runAsUser": context.get("runAsUser") != 0,
                "seccompProfile": (context.get("seccompProfile") or {}).get("type") in ("RuntimeDefault", "Localhost"),
                "hostPort": not any(port.get("hostPort") for port in container.get("ports", ())),
                "procMount": context.get("procMount", "Default") == "Default",
            }.items()
            if not fine
        ]
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    return wrong + [f"volume {each['name']}" for each in spec["volumes"] if not set(each) - {"name"} <= allowed]


def modest() -> dict[str, Any]:
    """A pod that satisfies the restricted standard by itself."""
    raw = with_probe(httpGet={"port": "http"})
    raw["spec"]["containers"][0]["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return raw


def test_a_pod_in_explicit_mode_satisfies_the_restricted_pod_security_standard() -> None:
    spec = injected(annotated(modest(), interception="none", upstreams="15432=db.shop:5432"))["spec"]
    assert [each["name"] for each in spec["initContainers"]] == ["handfast-proxy"]
    assert not any("add" in each["securityContext"]["capabilities"] for each in spec["initContainers"])
    assert restricted_violations(spec) == []
    assert restricted_violations(injected(modest())["spec"]), "a redirected pod has a privilege, or this test sees none"
    told = variables(spec["initContainers"][0])
    assert (told["HANDFAST_INTERCEPTION"], told["HANDFAST_UPSTREAMS"]) == ("none", "15432=db.shop:5432")


@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_explicit_mode_is_let_into_a_namespace_that_forbids_privileges(level: str) -> None:
    labels = {**ENABLED, "pod-security.kubernetes.io/enforce": level}
    assert isinstance(outcome(annotated(interception="none"), labels), Injected)


def test_a_pod_that_changes_to_explicit_mode_between_two_calls_loses_its_init_container() -> None:
    raw = annotated(injected(with_probe(httpGet={"port": "http"})), interception="none")
    assert injected(copy.deepcopy(raw)) == injected(
        annotated(with_probe(httpGet={"port": "http"}), interception="none")
    )
    assert injected(copy.deepcopy(injected(copy.deepcopy(raw)))) == injected(raw)


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
    assert difference(once, injected(copy.deepcopy(once))) == []


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
        (pod(nodeSelector={"kubernetes.io/os": "windows"}), ENABLED, "shop", "Windows"),
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
    cases = [
        (as_us, ENABLED, "the pod, by its own securityContext, runs as user 7443"),
        (container_as_us, ENABLED, "'app' runs as user 7443"),
    ]
    for port in sorted(SIDECAR_PORTS):
        taken = pod()
        taken["spec"]["containers"][0]["ports"] = [{"containerPort": port}]
        cases.append((taken, ENABLED, f"port {port}, which belongs to the sidecar"))
    cases += [
        (pod(), {**ENABLED, "pod-security.kubernetes.io/enforce": level}, sentence)
        for level in ("baseline", "restricted")
        for sentence in ("forbids the capability NET_ADMIN", "annotate the pod handfast.dev/interception=none")
    ]
    cases += [
        (annotated(interception="maybe"), ENABLED, "handfast.dev/interception is 'maybe'"),
        (annotated(skip_inbound_ports="14008"), ENABLED, "handfast.dev/skip-inbound-ports cannot be used"),
        (annotated(upstreams="8080=db:1"), ENABLED, "port 8080 is declared by the container 'app'"),
    ]
    cases.append((unknown, ENABLED, "names the port 'web'"))
    namesake, mounting, asking, forged = pod(), pod(), with_probe(tcpSocket={"port": 14020}), pod()
    namesake["spec"]["containers"].append({"name": "handfast-proxy"})
    mounting["spec"]["containers"][0]["volumeMounts"] = [{"name": "handfast-identity", "mountPath": "/k"}]
    forged["spec"]["initContainers"] = [{"name": "handfast-proxy", "env": [{"name": ENV_PROBES, "value": "["}]}]
    cases += [
        (namesake, ENABLED, "'handfast-proxy' has the name of one of the sidecar's"),
        (mounting, ENABLED, "mounts the volume 'handfast-identity', which is the sidecar's alone"),
        (asking, ENABLED, "asks port 14020, which belongs to the sidecar"),
        (forged, ENABLED, "is not what Handfast wrote"),
    ]
    copied = injected(with_probe(httpGet={"port": "http"}))
    del copied["spec"]["initContainers"]
    cases.append((copied, ENABLED, "copied from a running pod"))
    return cases


@pytest.mark.parametrize(("raw", "labels", "sentence"), refused_pods())
def test_a_pod_that_may_not_start_is_told_why(raw: dict[str, Any], labels: dict[str, str], sentence: str) -> None:
    result = outcome(raw, labels)
    assert isinstance(result, Refused)
    assert sentence in result.message


def test_a_manifest_copied_from_a_running_pod_does_not_take_its_secret() -> None:
    copied = injected(pod())
    copied["metadata"]["name"] = "orders-copy"
    assert secret_of(injected(copied)) == "orders-copy-handfast-0123456789"
    again = injected(pod())
    again["metadata"]["uid"] = "what the API server gave the first one"
    again["spec"]["volumes"][0]["secret"]["secretName"] = "orders-handfast-aaaaaaaaaa"
    assert secret_of(injected(again)) == "orders-handfast-0123456789"


def test_the_name_of_the_secret_is_a_dns_name_however_long_the_pods_is() -> None:
    raw = pod()
    raw["metadata"] = {"generateName": "a" * 229 + ".-"}
    assert secret_of(injected(raw)) == "a" * 229 + "-handfast-0123456789"


def test_what_in_tree_admission_added_to_our_containers_stays() -> None:
    raw = injected(pod())
    proxy = raw["spec"]["initContainers"][1]
    proxy |= {"imagePullPolicy": "Always", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}, "stdin": True}
    again = injected(raw)["spec"]["initContainers"][1]
    assert again["imagePullPolicy"] == "Always"
    assert again["resources"] == {"limits": {"cpu": "1", "memory": "64Mi"}}
    assert "stdin" not in again


def test_a_container_that_only_has_our_name_is_replaced() -> None:
    false = {"name": "handfast-proxy", "image": "evil", "securityContext": {"privileged": True}, "command": ["sh"]}
    assert injected(pod(initContainers=[false])) == injected(pod())


def test_a_pre_stop_hook_may_take_as_long_as_the_pod_has_to_end() -> None:
    raw = pod(terminationGracePeriodSeconds=90)
    raw["spec"]["containers"][0]["lifecycle"] = {"preStop": {"httpGet": {"port": 8080}}}
    assert originals(injected(raw)).probes["/probe/app/preStop"].timeout_s == 90


def test_a_time_out_that_was_changed_after_the_first_call_is_the_one_that_counts() -> None:
    raw = injected(with_probe(httpGet={"port": "http"}))
    raw["spec"]["containers"][0]["readinessProbe"]["timeoutSeconds"] = 9
    assert originals(injected(raw)).probes["/probe/app/readiness"].timeout_s == 9


def test_a_native_sidecar_of_the_user_has_its_probes_rewritten_too() -> None:
    native = {"name": "db", "restartPolicy": "Always", "startupProbe": {"tcpSocket": {"port": 5432}}}
    assert originals(injected(pod(initContainers=[native]))).probes == {"/probe/db/startup": TcpProbe(5432)}


def test_a_word_that_is_not_disabled_does_not_opt_a_pod_out() -> None:
    raw = pod()
    raw["metadata"]["labels"] = {"handfast.dev/inject": "no"}
    assert isinstance(outcome(raw), Injected)


@pytest.mark.parametrize(
    ("spec", "labels", "unexpected"),
    [({"hostNetwork": True}, {}, True), ({}, {"handfast.dev/inject": "disabled"}, False)],
)
def test_a_skip_is_unexpected_where_a_sidecar_was_asked_for(
    spec: dict[str, Any], labels: dict[str, str], unexpected: bool
) -> None:
    raw = pod(**spec)
    raw["metadata"]["labels"] = labels
    result = outcome(raw)
    assert isinstance(result, Skipped)
    assert result.unexpected is unexpected


def test_a_udp_port_does_not_clash_with_the_sidecar() -> None:
    raw = pod()
    raw["spec"]["containers"][0]["ports"] = [{"containerPort": 14008, "protocol": "UDP"}]
    assert isinstance(outcome(raw), Injected)


def test_the_injected_pod_is_the_golden_one() -> None:
    raw = with_probe(httpGet={"path": "/ok", "port": "http"})
    golden = json.loads((Path(__file__).parent / "golden" / "injected.json").read_text())
    assert injected(raw) == golden


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
    raw: dict[str, Any] = {
        "metadata": {"generateName": "web-"},
        "spec": {"containers": containers, "initContainers": init, "volumes": volumes},
    }
    result = injected(copy.deepcopy(raw))
    assert applied(difference(raw, result), raw) == result
    assert injected(copy.deepcopy(result)) == result
