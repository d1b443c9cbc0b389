"""A bundle: what is left out of it, what is replaced in it, and what it says of rights that are missing."""

import base64
import json
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.stage import OURS, Server, metadata, pod, shop
from handfast_operator.cli import diagnose
from handfast_operator.cli.bundle import MAX_FILE, Bundle
from handfast_operator.cli.errors import CliError
from handfast_operator.cli.main import parsed
from handfast_operator.cli.redaction import REDACTED, only_metadata, pod_of, redacted, whole
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import METADATA_ONLY
from support.pki import TestAuthority
from support.shown import manifest

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
SYSTEM = "handfast-system"
SECRET = "s3cr3t-of-somebody"
KEY = TestAuthority().issue().key_pem.decode()
TOKEN = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=")
    for part in (b'{"alg":"RS256","kid":"x"}', b'{"sub":"system:serviceaccount:shop:jane"}', bytes(range(64)))
)


# --- what is replaced


@given(st.text(), st.text())
def test_a_key_or_a_token_is_replaced_wherever_it_stands(before: str, after: str) -> None:
    for secret in (KEY, TOKEN, f"Bearer {TOKEN}", base64.b64encode(KEY.encode()).decode()):
        told = redacted(f"{before} {secret} {after}")
        assert REDACTED in told
        assert not any(line in told for line in KEY.splitlines()[1:-1])
        assert TOKEN.rpartition(".")[2] not in told
        assert base64.b64encode(KEY.encode()).decode()[40:80] not in told


def test_a_key_that_is_cut_off_is_replaced_to_the_end() -> None:
    assert redacted(f"log\n{KEY[:120]}") == f"log\n{REDACTED}"


def test_a_key_within_json_is_replaced() -> None:
    told = redacted(json.dumps({"key": KEY, "next": "kept"}))
    assert KEY.splitlines()[1] not in told
    assert json.loads(told) == {"key": f"{REDACTED}\n", "next": "kept"}


def test_certificates_stay() -> None:
    certificate = TestAuthority().issue().chain_pem.decode()
    encoded = base64.b64encode(certificate.encode()).decode()
    assert redacted(certificate) == certificate
    assert redacted(json.dumps({"caBundle": encoded})) == json.dumps({"caBundle": encoded})


# --- what is left out


def test_of_a_secret_there_is_metadata_alone() -> None:
    raw: Json = {"kind": "Secret", "data": {"tls.key": SECRET}, "stringData": {"a": SECRET}, "type": "Opaque"}
    raw["metadata"] = {
        "name": "a",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": SECRET, "handfast.dev/serial": "5e"},
        "managedFields": [{"fieldsV1": {SECRET: {}}}],
    }
    told = only_metadata(raw)
    assert SECRET not in json.dumps(told)
    assert told["metadata"] == {"name": "a", "annotations": {"handfast.dev/serial": "5e"}}
    assert SECRET not in json.dumps(whole({"metadata": raw["metadata"], "spec": {}}))


def test_of_an_applications_container_nothing_is_told_that_may_hold_a_secret() -> None:
    headers = {"httpGet": {"port": 1, "path": "/", "httpHeaders": [{"name": "Authorization", "value": SECRET}]}}
    probes = {"/probe/app/readiness": {"kind": "http", "port": 1, "headers": [["Authorization", SECRET]]}}
    raw = {
        "metadata": {"name": "a", "annotations": {"vault": SECRET}},
        "spec": {
            "containers": [
                {
                    "name": "app",
                    "image": "app:1",
                    "command": [SECRET],
                    "args": [SECRET],
                    "env": [{"name": "A", "value": SECRET}],
                    "lifecycle": {"preStop": {"exec": {"command": [SECRET]}}},
                    "livenessProbe": {"exec": {"command": [SECRET]}},
                    "readinessProbe": headers,
                }
            ],
            "initContainers": [
                {
                    "name": "handfast-proxy",
                    "env": [
                        {"name": "HANDFAST_PROBES", "value": json.dumps(probes)},
                        {"name": "HANDFAST_LOG_LEVEL", "value": "info"},
                        {"name": "HTTPS_PROXY", "value": SECRET},
                    ],
                }
            ],
            "volumes": [
                {"name": "v", "csi": {"volumeAttributes": {"password": SECRET}}},
                {"name": "handfast-identity", "secret": {"secretName": "a-handfast-0123456789"}},
            ],
        },
        "status": {
            "containerStatuses": [{"name": "app", "state": {"terminated": {"message": SECRET, "exitCode": 1}}}],
            "initContainerStatuses": [{"name": "handfast-proxy", "state": {"waiting": {"message": "why"}}}],
        },
    }
    told = pod_of(raw)
    assert SECRET not in json.dumps(told)
    assert told["spec"]["containers"][0]["image"] == "app:1"
    assert told["spec"]["volumes"][1]["secret"] == {"secretName": "a-handfast-0123456789"}
    assert {"name": "HANDFAST_LOG_LEVEL", "value": "info"} in told["spec"]["initContainers"][0]["env"]
    assert told["status"]["containerStatuses"][0]["state"]["terminated"] == {"exitCode": 1}
    assert told["status"]["initContainerStatuses"][0]["state"]["waiting"] == {"message": "why"}


def test_of_a_long_log_the_end_is_kept() -> None:
    bundle = Bundle(datetime(2026, 1, 1, tzinfo=UTC))
    bundle.text("a.log", "x" * MAX_FILE + "the end")
    assert bundle.files["a.log"].endswith(b"the end")
    assert len(bundle.files["a.log"]) == MAX_FILE


# --- rights


async def made(client: ApiClient, path: Path, *words: str) -> dict[str, Any]:
    """The files of a bundle; its index as data."""
    _verb, args = parsed(["diagnose", "-n", "shop", "-f", str(path), "-o", "json", *words])
    assert await diagnose.run(args, client) == 0
    found: dict[str, Any] = {}
    with tarfile.open(path) as tar:
        for member in tar.getmembers():
            file = tar.extractfile(member)
            assert file is not None
            found[member.name.partition("/")[2]] = file.read().decode()
    return {**found, "index.json": json.loads(found["index.json"])}


def ready(server: Server) -> None:
    server.objects["/version"] = {"gitVersion": "v1.34.0"}
    for path in (f"{OURS}/namespaces/shop/accessrequests", "/api/v1/namespaces/shop/secrets"):
        server.put(path)
    server.put("/api/v1/pods")
    secret = {"metadata": metadata("cart-identity"), "data": {"tls.key": base64.b64encode(KEY.encode()).decode()}}
    server.put("/api/v1/namespaces/shop/secrets", secret)


async def test_a_right_that_is_missing_is_told_in_the_bundle_and_all_else_is_there(tmp_path: Path) -> None:
    async with shop() as (server, client):
        ready(server)
        server.forbidden |= {f"{OURS}/clustermtlspolicies", "/api/v1/namespaces/handfast-system/pods"}
        told = await made(client, tmp_path / "a.tar.gz")
    missing = told["index.json"]["missing"]
    assert missing["objects/clustermtlspolicies.json"].startswith(
        "jane may not list clustermtlspolicies.handfast.dev in the whole cluster: a ClusterRole"
    )
    assert "jane may not list pods in the namespace handfast-system" in missing["operator/pods.json"]
    assert missing["objects/clustermtlspolicies.json"] in told["missing.txt"]
    assert "strict" in told["objects/mtlspolicies.json"]
    assert json.loads(told["objects/identity-secrets.json"])[0]["metadata"]["name"] == "cart-identity"
    assert "tls.key" not in "".join(each for name, each in told.items() if name != "index.json")
    assert told["commands/edges.exit-code.txt"] == "3\n", "a verb that cannot answer says so in its own words"
    assert "directory" in told["commands/edges.stderr.txt"]


def resource(path: str) -> tuple[str, str]:
    """The API group of a path, and what is asked for: `pods`, `pods/log`."""
    words = path.strip("/").split("/")
    group, rest = (words[1], words[3:]) if words[0] == "apis" else ("", words[2:])
    if rest[0] == "namespaces" and len(rest) > 2:
        rest = rest[2:]
    return group, "/".join([rest[0], *rest[2:3]])


def is_of_objects(path: str) -> bool:
    return path.count("/") > 2 and not path.endswith("/v1")


async def collections_that_are_missing(server: Server, client: ApiClient, bundle: Path) -> set[str]:
    """Of all that a bundle is asked from."""
    await made(client, bundle, "cart")
    ours = {each for each in server.asked if is_of_objects(each) and each.endswith(f"/{resource(each)[1]}")}
    return ours - server.objects.keys()


async def test_the_role_of_the_page_is_what_is_asked_for_and_of_secrets_metadata_alone_is(tmp_path: Path) -> None:
    async with shop() as (server, client):
        ready(server)
        directory = pod("handfast-directory-0", "10.0.0.9")
        directory["metadata"] |= {"labels": {"app.kubernetes.io/component": "directory"}, "namespace": SYSTEM}
        server.put(f"/api/v1/namespaces/{SYSTEM}/pods", directory)
        server.objects |= {"/apis": {"groups": []}, "/apis/admissionregistration.k8s.io/v1": {"resources": []}}
        # A verb may end at the first collection that is not there, whatever else it would have asked for.
        while missing := await collections_that_are_missing(server, client, tmp_path / "a.tar.gz"):
            for each in missing:
                server.put(each)
    asked = {resource(each) for each in server.asked if is_of_objects(each)}
    role = manifest((ROOT / "docs" / "cli.md").read_text(), "ClusterRole")
    given = {(group, each) for rule in role["rules"] for group in rule["apiGroups"] for each in rule["resources"]}
    assert asked - given == {("", "secrets")}
    assert {name for _group, name in given} == {name for _group, name in asked} - {"secrets"}
    of_secrets = [(path, accept) for path, accept in server.accepts if "secrets" in path]
    assert len(of_secrets) > 2
    assert [path for path, accept in of_secrets if accept != METADATA_ONLY or not path.endswith("/secrets")] == []


async def test_a_pod_that_is_not_there_is_missing_and_the_rest_is_made(tmp_path: Path) -> None:
    async with shop() as (server, client):
        ready(server)
        told = await made(client, tmp_path / "a.tar.gz", "nobody", "cart")
    assert told["index.json"]["missing"]["nobody"].startswith("there is no pod shop/nobody")
    assert json.loads(told["sidecars/shop/cart/pod.json"])["metadata"]["name"] == "cart"
    assert "sidecars/shop/cart/handfast-proxy.log" in told["index.json"]["missing"]


async def test_a_mistake_of_a_verb_costs_its_answer_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from handfast_operator.cli import edges

    async def broken(_args: object, _client: object) -> int:
        raise KeyError("oops")

    monkeypatch.setattr(edges, "run", broken)
    async with shop() as (server, client):
        ready(server)
        told = await made(client, tmp_path / "a.tar.gz")
    assert told["index.json"]["missing"]["commands/edges.json"] == "the verb failed: KeyError: 'oops'"
    assert "commands/version.json" in told


async def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    async with shop() as (server, client):
        ready(server)
        _verb, args = parsed(["diagnose", "-n", "shop", "-f", str(tmp_path / "no" / "a.tar.gz")])
        with pytest.raises(CliError, match="cannot be written: No such file or directory"):
            await diagnose.run(args, client)


def test_nothing_is_written_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(CliError, match="standard output is a terminal"):
        diagnose._written("-", b"")
