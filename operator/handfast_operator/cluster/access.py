"""Where the API server is, and how we prove to it who we are: the pod's service account, or a kubeconfig file.

The one rule: what cannot be used is refused with the sentence that says where to look, before anything is asked.
"""

import base64
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from handfast_sidecar.errors import HandfastError

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class NoAccess(HandfastError):
    """Nothing says where the API server is, or it cannot be read."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API server is and how we prove who we are."""

    url: str
    tls: ssl.SSLContext | None
    token_file: Path | None = None
    token: str = field(default="", repr=False)

    def headers(self) -> dict[str, str]:
        """Read anew for each call: kubelet exchanges the token every hour."""
        token = self.token_file.read_text().strip() if self.token_file is not None else self.token
        return {"Authorization": f"Bearer {token}"} if token else {}


def find_access(environment: Mapping[str, str]) -> Access:
    """From the pod's service account, or from the file that KUBECONFIG names. Raises NoAccess."""
    path = environment.get("KUBECONFIG")
    if path:
        return read_kubeconfig(Path(path))
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (_ACCOUNT / "token").exists():
        raise NoAccess("this is no pod with a service account, and KUBECONFIG is not set: set it to a kubeconfig file")
    tls = _trusting((_ACCOUNT / "ca.crt").read_text())
    return Access(f"https://{f'[{host}]' if ':' in host else host}:{port}", tls, token_file=_ACCOUNT / "token")


def read_kubeconfig(path: Path) -> Access:
    """The current context; client certificates and tokens, as files or inline. Raises NoAccess."""
    try:
        return _current_context(path)
    except OSError as error:
        raise NoAccess(f"the kubeconfig {path} cannot be used: {error}") from error
    except KeyError as error:
        raise NoAccess(f"the kubeconfig {path} has no {error.args[0]!r}: try it with kubectl") from error
    except (AttributeError, TypeError, ValueError, yaml.YAMLError) as error:
        # Not the parser's own words: they quote the file, and it holds keys.
        raise NoAccess(
            f"the kubeconfig {path} is not understood ({type(error).__name__}): try it with kubectl"
        ) from None


def _current_context(path: Path) -> Access:
    document = yaml.safe_load(path.read_text())
    by_name = {
        kind: {each["name"]: each for each in document.get(kind) or ()} for kind in ("contexts", "clusters", "users")
    }
    context = by_name["contexts"][document["current-context"]]["context"]
    cluster, user = by_name["clusters"][context["cluster"]]["cluster"], by_name["users"][context["user"]]["user"]
    authority = _content(cluster, "certificate-authority", path)
    tls = _trusting(authority.decode())
    certificate, key = _content(user, "client-certificate", path), _content(user, "client-key", path)
    if certificate and key:
        _load_chain(tls, certificate, key)
    token = user.get("token", "")
    if not token and not (certificate and key):
        raise NoAccess(
            f"the kubeconfig {path} has neither a client certificate with its key nor a token for its current user:"
            " programs that fetch credentials (exec) are not run here, create a token with kubectl create token"
        )
    return Access(cluster["server"].rstrip("/"), tls, token=token)


def _trusting(authority: str) -> ssl.SSLContext:
    """A context for the API server, whose certificate is the cluster's affair and not ours.

    Python 3.13 checks strictly by default, and many clusters' own certificates lack an AuthorityKeyIdentifier.
    """
    tls = ssl.create_default_context(cadata=authority or None)
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return tls


def _content(section: Mapping[str, Any], name: str, beside: Path) -> bytes:
    if f"{name}-data" in section:
        return base64.b64decode(section[f"{name}-data"])
    return (beside.parent / section[name]).read_bytes() if name in section else b""


def _load_chain(tls: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """`ssl` takes paths alone; the key reaches no disk."""
    descriptor = os.memfd_create("handfast", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, certificate + b"\n" + key)
        tls.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
