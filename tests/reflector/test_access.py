"""How the API server is found: from a kubeconfig file, or from the pod's service account; and how a bad one is told."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from handfast_operator.cluster.access import Access, NoAccess, find_access, read_kubeconfig
from support.pki import TestAuthority, write_files


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
