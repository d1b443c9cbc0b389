"""Where the API server is, and how we prove to it who we are: the pod's service account, or a kubeconfig file.

The one rule: what cannot be used is refused with the sentence that says where to look, before anything is asked.
"""

import base64
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from handfast_operator.cluster.exec_credential import fetch
from handfast_operator.cluster.kubeconfig import Context, NoAccess, not_understood, read_context

__all__ = ["Access", "NoAccess", "find_access", "find_users_access", "read_kubeconfig"]

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API server is and how we prove who we are."""

    url: str
    tls: ssl.SSLContext | None
    token_file: Path | None = None
    token: str = field(default="", repr=False)
    namespace: str = "default"
    """Of the context, or of the pod: where things are that name none."""
    server_name: str = ""
    """That the server's certificate must have; empty: its host's."""
    impersonate: Mapping[str, str] = field(default_factory=dict)
    """Headers of one who acts as somebody else."""
    source: str = "the pod's service account"
    """Where all this is from, as people are told."""

    def headers(self) -> dict[str, str]:
        """Read anew for each call: kubelet exchanges the token every hour."""
        token = self.token_file.read_text().strip() if self.token_file is not None else self.token
        return ({"Authorization": f"Bearer {token}"} if token else {}) | dict(self.impersonate)


def find_access(environment: Mapping[str, str]) -> Access:
    """For a program of the cluster: its service account, or the file that KUBECONFIG names. Raises NoAccess."""
    path = environment.get("KUBECONFIG")
    if path:
        return read_kubeconfig(Path(path))
    found = _own_account(environment)
    if found is None:
        raise NoAccess("this is no pod with a service account, and KUBECONFIG is not set: set it to a kubeconfig file")
    return found


def find_users_access(environment: Mapping[str, str], kubeconfig: str = "", context: str = "") -> Access:
    """For somebody at a terminal, as kubectl looks for it: the file named, those of KUBECONFIG, `~/.kube/config`,
    and within a pod its service account. Programs that fetch credentials are run. Raises NoAccess."""
    named = kubeconfig or environment.get("KUBECONFIG", "")
    home = Path(environment.get("HOME") or "/") / ".kube" / "config"
    if named or home.exists():
        paths = [Path(each) for each in named.split(os.pathsep) if each] if not kubeconfig else [Path(kubeconfig)]
        return _from_context(read_context(paths or [home], context), run_programs=True)
    found = _own_account(environment)
    if found is None or context:
        raise NoAccess(f"no kubeconfig: name one by --kubeconfig or in KUBECONFIG, or put it at {home}")
    return found


def read_kubeconfig(path: Path) -> Access:
    """The current context; client certificates and tokens, as files or inline. Raises NoAccess."""
    return _from_context(read_context([path]), run_programs=False)


def _own_account(environment: Mapping[str, str]) -> Access | None:
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (_ACCOUNT / "token").exists():
        return None
    tls = _trusting((_ACCOUNT / "ca.crt").read_text())
    namespace = _ACCOUNT / "namespace"
    return Access(
        f"https://{f'[{host}]' if ':' in host else host}:{port}",
        tls,
        token_file=_ACCOUNT / "token",
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
    )


def _from_context(context: Context, *, run_programs: bool) -> Access:
    try:
        return _access(context, run_programs=run_programs)
    except OSError as error:
        raise NoAccess(f"the kubeconfig {context.source} cannot be used: {error}") from error
    except KeyError as error:
        raise NoAccess(f"the kubeconfig {context.source} has no {error.args[0]!r}: try it with kubectl") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise not_understood(context.source, error) from None


def _access(context: Context, *, run_programs: bool) -> Access:
    cluster, user = context.cluster, context.user
    if cluster.get("insecure-skip-tls-verify"):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    else:
        tls = _trusting(_content(cluster, "certificate-authority", context.cluster_file).decode())
    certificate = _content(user, "client-certificate", context.user_file)
    key, token = _content(user, "client-key", context.user_file), str(user.get("token") or "")
    file = context.user_file.parent / user["tokenFile"] if user.get("tokenFile") and not token else None
    if not token and file is None and not (certificate and key):
        if "exec" not in user or not run_programs:
            raise _no_credentials(context)
        credential = fetch(context)
        token, certificate, key = credential.token, credential.certificate, credential.key
    if certificate and key:
        _load_chain(tls, certificate, key)
    return Access(
        cluster["server"].rstrip("/"),
        tls,
        token_file=file,
        token=token,
        namespace=context.namespace,
        server_name=cluster.get("tls-server-name") or "",
        impersonate=_impersonation(context),
        source=f"context {context.name} of the kubeconfig {context.source}",
    )


def _no_credentials(context: Context) -> NoAccess:
    way_out = (
        " programs that fetch credentials (exec) are not run here, create a token with kubectl create token"
        if "exec" in context.user
        else " it needs one of them"
    )
    return NoAccess(
        f"the kubeconfig {context.source} has neither a client certificate with its key nor a token for its current"
        f" user:{way_out}"
    )


def _impersonation(context: Context) -> Mapping[str, str]:
    user = context.user
    groups: Sequence[str] = user.get("as-groups") or ()
    if len(groups) > 1 or user.get("as-user-extra"):
        raise NoAccess(f"the kubeconfig {context.source}: several as-groups, and as-user-extra, are not known here")
    names = {"Impersonate-User": user.get("as"), "Impersonate-Uid": user.get("as-uid")}
    told = {name: str(value) for name, value in names.items() if value}
    return told | ({"Impersonate-Group": groups[0]} if groups else {})


def _trusting(authority: str) -> ssl.SSLContext:
    """A context for the API server, whose certificate is the cluster's affair and not ours.

    Python 3.13 checks strictly by default, and many clusters' own certificates lack an AuthorityKeyIdentifier.
    """
    tls = ssl.create_default_context(cadata=authority or None)
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return tls


def _content(section: Mapping[str, Any], name: str, file: Path) -> bytes:
    if section.get(f"{name}-data"):
        return base64.b64decode(section[f"{name}-data"])
    return (file.parent / section[name]).read_bytes() if section.get(name) else b""


def _load_chain(tls: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """`ssl` takes paths alone; the key reaches no disk."""
    descriptor = os.memfd_create("handfast", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, certificate + b"\n" + key)
        tls.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
