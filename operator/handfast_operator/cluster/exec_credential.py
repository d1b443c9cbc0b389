"""Credentials from a program that a kubeconfig names: `user.exec`, as the clouds' kubeconfigs have it.

The form is client.authentication.k8s.io/v1 (and v1beta1), "client-go credential plugins" in Kubernetes' reference.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from handfast_operator.cluster.kubeconfig import Context, NoAccess

GROUP: Final = "client.authentication.k8s.io"
VERSIONS: Final = (f"{GROUP}/v1", f"{GROUP}/v1beta1")
TIMEOUT_S: Final = 180
"""Seconds for the program: it may wait for somebody who signs in with a browser."""
_SAID: Final = 300
"""Characters of what it printed that are passed on."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What the program gave: a token, or a client certificate with its key."""

    token: str = field(default="", repr=False)
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)


def fetch(context: Context) -> Credential:
    """Run the program of a context's user. Raises NoAccess with what it said."""
    spec = context.user["exec"]
    version, command = str(spec.get("apiVersion", "")), str(spec.get("command", ""))
    named = f"the program {command!r}, from which the kubeconfig {context.source} has its credentials,"
    if version not in VERSIONS:
        raise NoAccess(f"{named} speaks {version or 'no version'}, and only {' and '.join(VERSIONS)} are known here")
    interactive = _interactive(spec, named)
    environment = {
        **os.environ,
        **{each["name"]: each["value"] for each in spec.get("env") or ()},
        "KUBERNETES_EXEC_INFO": json.dumps(_info(context, version, interactive)),
    }
    # A path is meant beside the kubeconfig, a bare name is looked for in PATH.
    program = str(context.user_file.parent.absolute() / command) if "/" in command else command
    try:
        done = subprocess.run(
            [program, *map(str, spec.get("args") or ())],
            env=environment,
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NoAccess(f"{named} did not end within {TIMEOUT_S} s") from error
    except OSError as error:
        hint = f": {spec['installHint'].strip()}" if spec.get("installHint") else ""
        raise NoAccess(f"{named} cannot be run: {error.strerror or error}{hint}") from error
    if done.returncode:
        raise NoAccess(f"{named} failed with exit code {done.returncode}; what it said is above")
    return _read(done.stdout, version, named)


def _interactive(spec: Mapping[str, Any], named: str) -> bool:
    """Whether it may ask the user something on standard input."""
    mode, terminal = spec.get("interactiveMode") or "IfAvailable", sys.stdin is not None and sys.stdin.isatty()
    if mode == "Always" and not terminal:
        raise NoAccess(f"{named} wants to ask you, and standard input is no terminal")
    return mode != "Never" and terminal


def _info(context: Context, version: str, interactive: bool) -> Mapping[str, Any]:
    spec: dict[str, Any] = {"interactive": interactive}
    if context.user["exec"].get("provideClusterInfo"):
        names = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data")
        spec["cluster"] = {name: context.cluster[name] for name in names if name in context.cluster}
    return {"apiVersion": version, "kind": "ExecCredential", "spec": spec}


def _read(output: bytes, version: str, named: str) -> Credential:
    # What it printed is a secret, so nothing of it is quoted.
    try:
        found = json.loads(output)
        told, status = found["apiVersion"], found["status"]
        credential = Credential(
            str(status.get("token") or ""),
            str(status.get("clientCertificateData") or "").encode(),
            str(status.get("clientKeyData") or "").encode(),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoAccess(f"{named} did not print an ExecCredential with a status ({type(error).__name__})") from None
    if told != version:
        raise NoAccess(f"{named} answered in version {str(told)[:_SAID]!r}, expected {version}")
    if not credential.token and not (credential.certificate and credential.key):
        raise NoAccess(f"{named} gave neither a token nor a client certificate with its key")
    return credential
