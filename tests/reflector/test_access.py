"""How the API server is found: from a kubeconfig file, or from the pod's service account; and how a bad one is told."""

import base64
import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from handfast_operator.cluster.access import Access, NoAccess, find_access, find_users_access, read_kubeconfig
from support.pki import TestAuthority, write_files

EXEC_V1 = "client.authentication.k8s.io/v1"


def kubeconfig(place: Path, user: dict[str, Any], **cluster: Any) -> Path:
    """A file with one context; JSON is YAML."""
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example:6443/", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path = place / "kubeconfig"
    path.write_text(json.dumps(document))
    return path


def test_a_token_of_the_current_user_is_sent(tmp_path: Path) -> None:
    access = find_access({"KUBECONFIG": str(kubeconfig(tmp_path, {"token": "t0ken"}))})
    assert access.url == "https://api.example:6443"
    assert access.headers() == {"Authorization": "Bearer t0ken"}
    assert "t0ken" not in repr(access)


@pytest.mark.parametrize("inline", [True, False])
def test_a_client_certificate_may_be_inline_or_in_files_beside_the_kubeconfig(tmp_path: Path, inline: bool) -> None:
    authority = TestAuthority("test.example")
    certificate, key, bundle = write_files(tmp_path, authority.issue())

    def part(name: str, path: Path) -> dict[str, str]:
        return {f"{name}-data": base64.b64encode(path.read_bytes()).decode()} if inline else {name: path.name}

    user = {**part("client-certificate", certificate), **part("client-key", key)}
    access = read_kubeconfig(kubeconfig(tmp_path, user, **part("certificate-authority", bundle)))
    assert access.tls is not None
    assert [each["serialNumber"] for each in access.tls.get_ca_certs()]
    assert access.headers() == {}


def test_a_token_file_is_read_anew_for_each_call(tmp_path: Path) -> None:
    token = tmp_path / "token"
    access = Access("https://api.example", None, token_file=token)
    for content in ("first\n", "second\n"):
        token.write_text(content)
        assert access.headers() == {"Authorization": f"Bearer {content.strip()}"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("foo: bar", "has no 'current-context'"),
        ("- a list", "not understood"),
        ("{", "not understood"),
        ("current-context: here", "has no 'here'"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_named_with_what_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(NoAccess, match=told) as caught:
        read_kubeconfig(path)
    assert str(path) in str(caught.value)


def test_a_kubeconfig_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoAccess, match="nowhere cannot be used"):
        read_kubeconfig(tmp_path / "nowhere")


def test_a_user_whose_credentials_come_from_a_program_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(NoAccess, match="kubectl create token"):
        read_kubeconfig(kubeconfig(tmp_path, {"exec": {"command": "login"}}))


def test_a_broken_inline_key_is_never_quoted(tmp_path: Path) -> None:
    broken = {"client-certificate-data": "c2VjcmV0", "client-key-data": "c2VjcmV0"}
    with pytest.raises(NoAccess) as caught:
        read_kubeconfig(kubeconfig(tmp_path, broken))
    assert "secret" not in str(caught.value)


def test_outside_of_a_pod_the_missing_kubeconfig_is_told() -> None:
    with pytest.raises(NoAccess, match="KUBECONFIG is not set"):
        find_access({})


# --- what somebody at a terminal has


def split(place: Path, name: str, **document: Any) -> Path:
    """One of several files."""
    path = place / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def test_several_files_are_one_and_the_first_that_says_a_thing_wins(tmp_path: Path) -> None:
    context = {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}
    cluster = {"name": "c", "cluster": {"server": "https://first.example"}}
    other = {"name": "c", "cluster": {"server": "https://second.example"}}
    one = split(tmp_path, "one", **{"current-context": "here", "clusters": [cluster]})
    two = split(tmp_path, "two", contexts=[context], clusters=[other], users=[{"name": "u", "user": {"token": "t"}}])
    access = find_users_access({"KUBECONFIG": f"{one}:{tmp_path / 'missing'}:{two}"})
    assert (access.url, access.namespace, access.headers()["Authorization"]) == (
        "https://first.example",
        "shop",
        "Bearer t",
    )


def test_a_relative_path_starts_beside_the_file_that_has_it(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "token").write_text("beside\n")
    clusters = [{"name": "c", "cluster": {"server": "https://api.example"}}]
    contexts = [{"name": "here", "context": {"cluster": "c", "user": "u"}}]
    one = split(tmp_path, "a/one", **{"current-context": "here"}, contexts=contexts, clusters=clusters)
    two = split(tmp_path, "b/two", users=[{"name": "u", "user": {"tokenFile": "token"}}])
    assert find_users_access({"KUBECONFIG": f"{one}:{two}"}).headers() == {"Authorization": "Bearer beside"}


def test_a_context_may_be_named_and_one_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = str(kubeconfig(tmp_path, {"token": "t"}))
    assert find_users_access({}, path, "here").url == "https://api.example:6443"
    with pytest.raises(NoAccess, match="has no 'there'"):
        find_users_access({}, path, "there")


def test_the_file_of_ones_home_is_the_last_resort(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    kubeconfig(tmp_path / ".kube", {"token": "t"}).rename(tmp_path / ".kube" / "config")
    assert find_users_access({"HOME": str(tmp_path)}).headers() == {"Authorization": "Bearer t"}
    with pytest.raises(NoAccess, match="name one by --kubeconfig"):
        find_users_access({"HOME": str(tmp_path / "nobody")})


def test_a_certificate_that_shall_not_be_checked_is_not(tmp_path: Path) -> None:
    access = read_kubeconfig(kubeconfig(tmp_path, {"token": "t"}, **{"insecure-skip-tls-verify": True}))
    assert access.tls is not None
    assert (access.tls.verify_mode, access.tls.check_hostname) == (ssl.CERT_NONE, False)
    checked = read_kubeconfig(kubeconfig(tmp_path, {"token": "t"}))
    assert checked.tls is not None
    assert (checked.tls.verify_mode, checked.tls.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_who_acts_as_somebody_else_says_so(tmp_path: Path) -> None:
    access = read_kubeconfig(kubeconfig(tmp_path, {"token": "t", "as": "jane", "as-groups": ["dev"]}))
    assert access.headers() | {"Authorization": ""} == {
        "Authorization": "",
        "Impersonate-User": "jane",
        "Impersonate-Group": "dev",
    }
    with pytest.raises(NoAccess, match="several as-groups"):
        read_kubeconfig(kubeconfig(tmp_path, {"token": "t", "as": "jane", "as-groups": ["dev", "ops"]}))


def test_what_would_be_passed_over_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoAccess, match="proxy-url of its cluster is not known"):
        read_kubeconfig(kubeconfig(tmp_path, {"token": "t"}, **{"proxy-url": "http://proxy.example"}))


def plugin(place: Path, script: str, **changes: Any) -> dict[str, Any]:
    """A user whose credentials come from a shell script beside the kubeconfig."""
    program = place / "login"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"exec": {"apiVersion": EXEC_V1, "command": "./login", "interactiveMode": "Never"} | changes}


def credential(**status: str) -> str:
    return json.dumps({"apiVersion": EXEC_V1, "kind": "ExecCredential", "status": status})


def test_a_program_gives_a_token_and_is_told_for_which_cluster(tmp_path: Path) -> None:
    script = f"printf %s \"$KUBERNETES_EXEC_INFO\" > {tmp_path}/told; echo '{credential(token='t0ken')}' | sed s/0/$O/"
    user = plugin(tmp_path, script, env=[{"name": "O", "value": "o"}], provideClusterInfo=True)
    access = find_users_access({}, str(kubeconfig(tmp_path, user)))
    assert access.headers() == {"Authorization": "Bearer token"}
    told = json.loads((tmp_path / "told").read_text())
    assert told["apiVersion"] == EXEC_V1
    assert told["spec"] == {"interactive": False, "cluster": {"server": "https://api.example:6443/"}}


def test_a_program_may_give_a_certificate(tmp_path: Path) -> None:
    certificate, key, _ = write_files(tmp_path, TestAuthority("test.example").issue())
    answer = credential(clientCertificateData=certificate.read_text(), clientKeyData=key.read_text())
    (tmp_path / "answer").write_text(answer)
    access = find_users_access({}, str(kubeconfig(tmp_path, plugin(tmp_path, f"cat {tmp_path}/answer"))))
    assert access.headers() == {}


@pytest.mark.parametrize(
    ("script", "changes", "told"),
    [
        ("exit 3", {}, "failed with exit code 3"),
        ("echo s3cret", {}, "did not print an ExecCredential"),
        (f"echo '{credential()}'", {}, "neither a token nor a client certificate"),
        ("true", {"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "v1alpha1, and only"),
        ("true", {"command": "no-such-program", "installHint": "get it from example\n"}, "get it from example"),
        ("true", {"interactiveMode": "Always"}, "standard input is no terminal"),
    ],
)
def test_a_program_that_fails_is_named_with_what_is_wrong(
    tmp_path: Path, script: str, changes: dict[str, Any], told: str
) -> None:
    path = kubeconfig(tmp_path, plugin(tmp_path, script, **changes))
    with pytest.raises(NoAccess, match=told) as caught:
        find_users_access({}, str(path))
    assert str(path) in str(caught.value)
    assert "s3cret" not in str(caught.value)
