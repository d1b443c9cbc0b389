"""Manifests get what the webhook gives, keep all the rest as it was written, and can be taken back."""

import asyncio
import base64
import copy
import io
import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from handfast_operator.admission.containers import InjectionOptions
from handfast_operator.admission.manual import Scene, inject_object, pods_of
from handfast_operator.admission.removal import uninject
from handfast_operator.admission.review import Review
from handfast_operator.admission.webhook import Webhook
from handfast_operator.cli import inject as verb
from handfast_operator.cli import main as command
from handfast_operator.cli.errors import CliError
from handfast_operator.cli.installation import parse_installed, version_of
from handfast_operator.cli.manifests import joined, parse
from handfast_operator.policy.final import INBOUND, OUTBOUND, Demand
from handfast_sidecar.observe.metrics import Registry
from support.json_patch import applied

Json = dict[str, Any]
OPTIONS = InjectionOptions("handfast-system", "handfast/sidecar:0.2.0", resources={"limits": {"memory": "256Mi"}})
STRICT = Demand("ClusterMTLSPolicy floor", "mode: Strict", (*INBOUND, *OUTBOUND))
LABELS: Json = {"handfast.dev/inject": "enabled"}
KINDS = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
    "ReplicationController": "v1",
}
SHOP = """\
# Source: shop
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
# the orders
apiVersion: apps/v1
kind: Deployment
metadata:
  name: orders   # ours
  namespace: shop
spec:
  replicas: 2
  selector:
    matchLabels: {app: orders}
  template:
    metadata:
      labels:
        app: orders # as the selector says
    spec:
      containers:
        # the app
        - name: app
          image: "orders:1"   # pinned
          args: ['yes', on, 0644, 2026-01-01]

---
apiVersion: v1
kind: Pod
metadata:
  name: cart
  namespace: shop
spec:
  containers:
  - name: app
    image: cart:1
    env:
    - {name: WHEN, value: "2026-01-01"}
    readinessProbe:
      httpGet: {path: /ok, port: 8080}
      periodSeconds: 7 # often
  volumes:
  - name: data # kept
    emptyDir: {}
---
"""


# --- what the webhook gives


class TheLabels:
    """Of every namespace."""

    def remembered(self, _name: str) -> Mapping[str, str]:
        return {}

    async def asked(self, _name: str) -> Mapping[str, str]:
        return {}


class Finals:
    """Final policies."""

    async def asked(self, _namespace: str, _labels: Mapping[str, str]) -> Sequence[Demand]:
        return [STRICT]


def webhooks_answer(pod: Json) -> Json | None:
    """The pod as the webhook makes it; None: it is refused."""
    webhook = Webhook(OPTIONS, TheLabels(), Registry(), Finals())
    outcome, answer = asyncio.run(webhook._inject(Review("42", pod["metadata"]["namespace"], pod)))
    if outcome == "refused":
        return None
    patch = json.loads(base64.b64decode(answer["response"].get("patch", "W10=")))
    found: Json = applied(patch, pod)
    return found


def by_hand(pod: Json) -> Json | None:
    """The same by hand, as data."""
    scene = Scene(OPTIONS, "default", demands={"shop": [STRICT]})
    value, [told] = inject_object(pod, scene, lambda: "abcdefghij")
    found: Json = value
    return None if told.outcome == "refused" else found


def same_word(pod: Json | None) -> str:
    return re.sub(r"-handfast-[a-z0-9]{10}", "-handfast-WORD", json.dumps(pod, sort_keys=True))


_HANDLERS = st.sampled_from(
    [
        {"tcpSocket": {"port": 5432}},
        {"tcpSocket": {"port": "http"}},
        {"httpGet": {"port": "http"}},
        {"httpGet": {"path": "/ok", "port": 8080, "scheme": "HTTPS"}},
        {"httpGet": {"path": "/ok", "port": 8080, "httpHeaders": [{"name": "Host", "value": "on"}]}},
        {"httpGet": {"path": "/", "port": 14020}},
        {"grpc": {"port": 9000, "service": "yes"}},
        {"grpc": {"port": 9000}},
        {"exec": {"command": ["true"]}},
    ]
)
_PROBES = st.builds(
    lambda handler, period: {**handler, **period},
    _HANDLERS,
    st.sampled_from([{}, {"periodSeconds": 7}, {"timeoutSeconds": 3}]),
)
_CONTAINERS: st.SearchStrategy[Json] = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b", "c"]), "ports": st.just([{"name": "http", "containerPort": 8080}])},
    optional={
        "image": st.sampled_from(["app:1", "no", "1.0"]),
        "readinessProbe": _PROBES,
        "livenessProbe": _PROBES,
        "startupProbe": _PROBES,
        "lifecycle": st.fixed_dictionaries({}, optional={"preStop": _HANDLERS, "postStart": _HANDLERS}),
        "env": st.just([{"name": "A", "value": "off"}]),
        "securityContext": st.sampled_from([{"runAsUser": 1000}, {"runAsUser": 7443}]),
    },
)
_ANNOTATIONS = st.dictionaries(
    st.sampled_from(
        [
            "handfast.dev/skip-inbound-ports",
            "handfast.dev/upstreams",
            "handfast.dev/interception",
            "handfast.dev/proxy-protocol-ports",
            "other",
        ]
    ),
    st.sampled_from(["9090", "none", "15432=db:5432", "8080,1x"]),
    max_size=2,
)


def _listed(prefix: str = "") -> st.SearchStrategy[list[Json]]:
    """Names are each other's no matter in which list, as the API server asks for it."""
    found = st.lists(_CONTAINERS, min_size=1, max_size=3, unique_by=lambda each: str(each["name"]))
    return found.map(lambda all_: [{**each, "name": f"{prefix}{each['name']}"} for each in all_])


PODS = st.builds(
    lambda meta, spec: {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec},
    st.fixed_dictionaries(
        {"name": st.sampled_from(["orders", "a" * 240, "cart-0"]), "namespace": st.just("shop")},
        optional={"labels": st.sampled_from([{"app": "orders"}, {"version": "1.0"}]), "annotations": _ANNOTATIONS},
    ),
    st.fixed_dictionaries(
        {"containers": _listed()},
        optional={
            "initContainers": _listed("init-"),
            "volumes": st.just([{"name": "data", "emptyDir": {}}]),
            "hostNetwork": st.booleans(),
            "terminationGracePeriodSeconds": st.sampled_from([0, 60]),
            "serviceAccountName": st.just("orders"),
        },
    ),
)


@settings(max_examples=60, deadline=None)
@given(PODS)
def test_a_manifest_becomes_what_the_webhook_makes_of_its_pod(pod: Json) -> None:
    asked = copy.deepcopy(pod)
    asked["metadata"]["labels"] = {**asked["metadata"].get("labels", {}), **LABELS}
    theirs, ours = webhooks_answer(asked), by_hand(pod)
    if pod["spec"].get("hostNetwork"):
        assert ours == pod, "the webhook leaves it alone, and so does the verb"
        return
    assert same_word(ours) == same_word(theirs)
    if ours is not None:
        assert webhooks_answer(ours) == ours, "at admission the webhook has nothing to add"


@settings(max_examples=60, deadline=None)
@given(PODS)
def test_what_was_injected_is_taken_out_again(pod: Json) -> None:
    pod = by_number(pod)
    ours = by_hand(pod)
    if ours is not None:
        assert uninject(ours) == pod


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(PODS)
def test_in_the_text_of_a_manifest_it_is_the_same(pod: Json) -> None:
    ours = by_hand(pod)
    [document] = parse(yaml.safe_dump(pod, sort_keys=False), "test")
    assert ours is None or yaml.safe_load(document.changed(ours)) == ours


def by_number(pod: Json) -> Json:
    """What injection does not keep: a probe's port by its name, and a path that is not written."""
    text = json.dumps(pod).replace('"port": "http"', '"port": 8080')
    found: Json = json.loads(text.replace('"httpGet": {"port"', '"httpGet": {"path": "/", "port"'))
    for container in (*found["spec"]["containers"], *found["spec"].get("initContainers", ())):
        if container.get("lifecycle") == {}:
            del container["lifecycle"]
    return found


# --- the text


def injected(text: str) -> tuple[str, list[str]]:
    return _each(text, lambda value: inject_object(value, Scene(OPTIONS, "default"), lambda: "abcdefghij"))


def _each(text: str, change: Any) -> tuple[str, list[str]]:
    documents = parse(text, "test")
    results = [change(each.value) for each in documents]
    texts = [each.changed(value) for each, (value, _told) in zip(documents, results, strict=True)]
    told = [str(line) for _value, lines in results for line in lines]
    return joined(texts, is_json=all(each.is_json for each in documents)), told


@dataclass(frozen=True)
class Done:
    """Of a command."""

    returncode: int
    stdout: str
    stderr: str


def run(words: list[str], given_: str) -> Done:
    """`handfast WORDS...`, where there is no kubeconfig."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "stdin", io.StringIO(given_))
        patch.setenv("KUBECONFIG", "/nowhere")
        code = command.main(words)
    return Done(code, out.getvalue(), err.getvalue())


def test_what_is_not_touched_stays_as_it_was_written_and_all_of_it_comes_back() -> None:
    done = run(["inject", "--offline", "--sidecar-image=handfast/sidecar:0.2.0", "-f", "-"], SHOP)
    assert (done.returncode, done.stderr) == (0, "Deployment shop/orders: labelled\nPod shop/cart: injected\n")
    assert [line for line in SHOP.splitlines() if line not in done.stdout.splitlines()] == [
        "      httpGet: {path: /ok, port: 8080}"
    ]
    for kept in ("# as the selector says", "['yes', on, 0644, 2026-01-01]", 'value: "2026-01-01"}', "# often"):
        assert kept in done.stdout
    back = run(["uninject", "-f", "-"], done.stdout)
    assert (back.returncode, back.stderr) == (0, "Deployment shop/orders: taken out\nPod shop/cart: taken out\n")
    assert back.stdout == SHOP


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_gets_the_label_and_nothing_else(kind: str) -> None:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "app"}]}}
    spec: Json = {"jobTemplate": {"spec": {"template": template}}} if kind == "CronJob" else {"template": template}
    raw: Json = {"apiVersion": KINDS[kind], "kind": kind, "metadata": {"name": "a", "namespace": "shop"}, "spec": spec}
    expected = copy.deepcopy(raw)
    inner = expected["spec"]["jobTemplate"]["spec"] if kind == "CronJob" else expected["spec"]
    inner["template"]["metadata"]["labels"] |= LABELS
    text, told = injected(yaml.safe_dump(raw))
    assert (yaml.safe_load(text), told) == (expected, [f"{kind} shop/a: labelled"])


def test_a_pod_that_may_become_several_gets_the_label_alone() -> None:
    raw: Json = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "a-"}}
    raw["spec"] = {"containers": [{"name": "app"}]}
    text, told = injected(yaml.safe_dump(raw))
    assert told == ["Pod a-: labelled"]
    assert yaml.safe_load(text)["spec"] == raw["spec"]


def test_the_same_kind_of_another_group_is_somebody_elses() -> None:
    text = "apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nspec: {template: {spec: {containers: []}}}\n"
    assert injected(text) == (text, [])


def test_lists_are_looked_into_and_json_stays_json() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "app"}]}}
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}}
    raw = {"apiVersion": "v1", "kind": "List", "items": [other, pod]}
    text, told = injected(json.dumps(raw))
    found = json.loads(text)
    assert told == ["Pod a: injected"]
    assert found["items"][0] == other
    assert found["items"][1]["spec"]["initContainers"][1]["name"] == "handfast-proxy"
    bare = {"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "a"}, "spec": pod["spec"]}]}
    assert injected(json.dumps(bare))[1] == ["Pod a: injected"]


def test_two_json_documents_are_two() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "app"}]}}
    text, told = injected(json.dumps(pod) + "\n" + '{"kind":   "Other"}\n')
    assert told == ["Pod a: injected"]
    assert text.endswith('\n{"kind":   "Other"}\n'), "and what is not touched is as it was"


def test_labels_that_a_selector_shares_by_an_anchor_change_in_the_template_alone() -> None:
    text = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders}
spec:
  selector:
    matchLabels: &labels
      app: orders
  template:
    metadata:
      labels: *labels
    spec: {containers: [{name: app}]}
"""
    changed, _told = injected(text)
    found = yaml.safe_load(changed)
    assert found["spec"]["selector"]["matchLabels"] == {"app": "orders"}
    assert found["spec"]["template"]["metadata"]["labels"] == {"app": "orders", **LABELS}
    first = text.replace("matchLabels: &labels\n      app: orders", "matchLabels: *labels").replace(
        "metadata: {name: orders}", "metadata:\n  name: orders\n  labels: &labels {app: orders}"
    )
    found = yaml.safe_load(injected(first)[0])
    assert found["spec"]["selector"]["matchLabels"] == found["metadata"]["labels"] == {"app": "orders"}


def test_a_stream_without_pods_is_passed_on_byte_for_byte() -> None:
    text = "%YAML 1.2\n---\n# only\n{a:   1}\n...\n---\r\nb: [1,\n 2]\n--- # end\n"
    assert injected(text) == (text, [])


def test_indentation_is_the_texts_own() -> None:
    text = """\
apiVersion: v1
kind: Pod
metadata:
    name: a
spec:
    containers:
        - name: app
          image: a:1
"""
    changed, _told = injected(text)
    assert changed.startswith(
        text.replace("    name: a\n", "    name: a\n    labels:\n        handfast.dev/inject: enabled\n")
    )
    assert "\n    initContainers:\n        - name: handfast-init\n          image: handfast/sidecar:0.2.0\n" in changed


def test_text_that_yaml_would_take_for_something_else_is_quoted() -> None:
    text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers: [{name: app}]\n"
    [document] = parse(text, "test")
    value = {
        **document.value,
        "x": {"on": "on", "no": "2026-01-01", "octal": "0644", "float": "1e3", "json": '{"a":1}'},
    }
    assert yaml.safe_load(document.changed(value))["x"] == value["x"]


# --- refusals, and what is told


def test_a_pod_that_the_webhook_would_refuse_stops_all_of_it() -> None:
    broken = SHOP.replace("  name: cart\n", '  name: cart\n  annotations: {handfast.dev/skip-inbound-ports: "x"}\n')
    done = run(["inject", "--offline", "--sidecar-image=s:1", "-f", "-"], broken)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "Pod shop/cart: refused, because its annotation handfast.dev/skip-inbound-ports cannot be used" in done.stderr
    )


def test_who_wants_no_sidecar_gets_none_and_that_is_said() -> None:
    text = SHOP.replace("        app: orders #", "        handfast.dev/inject: disabled\n        app: orders #")
    done = run(["inject", "--offline", "--sidecar-image=s:1", "-f", "-"], text)
    assert "Deployment shop/orders: skipped, because the pod has the label handfast.dev/inject=disabled" in done.stderr
    assert done.stdout.count("inject: enabled") == 1


def test_the_labels_of_a_namespace_in_the_same_manifest_count() -> None:
    level = "{name: shop, labels: {pod-security.kubernetes.io/enforce: restricted}}"
    done = run(["inject", "--offline", "--sidecar-image=s:1", "-f", "-"], SHOP.replace("{name: shop}", level))
    assert done.returncode == 1
    assert "enforces the Pod Security Standard 'restricted'" in done.stderr


def test_the_pods_are_shown_as_they_will_be() -> None:
    done = run(["inject", "--show", "--offline", "--sidecar-image=s:1", "-f", "-", "-o", "json"], SHOP)
    assert done.returncode == 0, done.stderr
    orders = json.loads(done.stdout[: done.stdout.index("\n}\n") + 2])
    assert (orders["metadata"]["generateName"], orders["kind"]) == ("orders-", "Pod")
    [identity] = [each for each in orders["spec"]["volumes"] if each["name"] == "handfast-identity"]
    assert identity["secret"]["secretName"] == "orders-handfast-xxxxxxxxxx"
    scene = Scene(OPTIONS, "default")
    assert [each["metadata"]["namespace"] for doc in parse(SHOP, "t") for each in pods_of(doc.value, scene, str)] == [
        "shop",
        "shop",
    ]


@pytest.mark.parametrize(
    ("words", "text", "sentence"),
    [
        (["inject", "--offline", "-f", "-"], SHOP, "--offline knows no sidecar of its own: give --sidecar-image"),
        (["uninject", "-f", "/nowhere.yaml"], "", "/nowhere.yaml cannot be read"),
        (["uninject", "-f", "-"], "a: [", "standard input: while parsing"),
        (["uninject", "-f", "-"], "- a\n", "a document is a list, and no object"),
        (["inject", "--offline", "--sidecar-image=s", "--sidecar-resources=1", "-f", "-"], SHOP, "RESOURCES: expected"),
    ],
)
def test_what_is_not_understood_is_a_sentence(words: list[str], text: str, sentence: str) -> None:
    done = run(words, text)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_field_of_the_wrong_type_is_refused_by_its_name() -> None:
    text = SHOP.replace("name: cart\n", "name: cart\n  labels: {version: 1}\n")
    done = run(["inject", "--offline", "--sidecar-image=s:1", "-f", "-"], text)
    assert done.returncode == 1
    assert "Pod shop/cart: refused, because metadata.labels.version is a int, expected str" in done.stderr


def test_files_and_folders_are_one_stream(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("kind: B")
    (tmp_path / "a.yml").write_text("kind: A\n")
    (tmp_path / "c.txt").write_text("no manifest")
    done = run(["uninject", "-f", str(tmp_path), "-f", "-"], "---\nkind: C\n")
    assert done.stdout == "kind: A\n---\nkind: B\n---\nkind: C\n"


# --- taking out


def test_a_probe_whose_original_is_nowhere_stops_the_way_back() -> None:
    pod = by_hand(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "shop"}, "spec": _probed()}
    )
    assert pod is not None
    del pod["spec"]["initContainers"]
    done = run(["uninject", "-f", "-"], json.dumps(pod))
    assert (done.returncode, done.stdout) == (1, "")
    assert "the readiness probe of the container 'app' points at the sidecar" in done.stderr


def _probed() -> Json:
    return {"containers": [{"name": "app", "readinessProbe": {"tcpSocket": {"port": 1}}}]}


def test_in_a_labelled_namespace_a_pod_can_be_kept_out() -> None:
    text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n  - name: app\n"
    done = run(["uninject", "--disable", "-f", "-"], injected(text)[0])
    assert done.stdout == text.replace("  name: a\n", "  name: a\n  labels:\n    handfast.dev/inject: disabled\n", 1)
    assert done.stderr == "Pod a: kept out\n"


# --- the installation


def deployment(**variables: str) -> Json:
    env = [{"name": name, "value": value} for name, value in variables.items()]
    own = {"name": "HANDFAST_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}
    return {
        "metadata": {"namespace": "mesh", "name": "w", "labels": {"app.kubernetes.io/version": "0.2.0"}},
        "spec": {"template": {"spec": {"containers": [{"name": "webhook", "env": [own, *env]}]}}},
    }


def test_settings_are_those_that_the_webhook_runs_with() -> None:
    found = parse_installed(
        deployment(
            HANDFAST_SIDECAR_IMAGE="s:1", HANDFAST_SIDECAR_RESOURCES='{"limits": {}}', HANDFAST_LOG_LEVEL="debug"
        )
    )
    assert InjectionOptions.of(found.settings) == InjectionOptions(
        "mesh", "s:1", resources={"limits": {}}, log_level="debug"
    )
    assert found.version == "0.2.0"
    with pytest.raises(CliError, match="the Deployment mesh/w has no HANDFAST_SIDECAR_IMAGE"):
        parse_installed(deployment())


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("handfast/sidecar:0.2.0", "0.2.0"),
        ("registry.example:5000/handfast/sidecar", "latest"),
        ("handfast/sidecar@sha256:aa", "sha256:aa"),
        ("handfast/sidecar:0.2.0@sha256:aa", "0.2.0"),
    ],
)
def test_the_version_of_an_image_is_its_tag(image: str, version: str) -> None:
    assert version_of(image) == version


def test_the_verb_is_listed_and_needs_a_cluster_only_where_it_asks_one() -> None:
    assert {"inject", "uninject", "diagnose", "completion", "version"} <= set(command.VERBS)
    _verb, args = command.parsed(["inject", "-f", "-"])
    assert not verb.without_cluster(args)
    assert verb.without_cluster(command.parsed(["inject", "--offline", "-f", "-"])[1])
