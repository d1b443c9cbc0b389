"""What tests ask of an external issuer, and what they see of it in the TrustDomain."""

import json
from base64 import b64decode
from typing import Any

from cryptography import x509

from cluster.cluster import Cluster
from cluster.mesh import TRUST_DOMAIN, leaf_of, secret_of, until
from handfast_sidecar.identity.leaf import key_identifier_of

Json = dict[str, Any]
NAME = "handfast-issuer"
SELF_SIGNED: Json = {"selfSigned": {}, "secretRef": None}
SECRET_REF: Json = {"secretRef": {"name": NAME}, "selfSigned": None}
PATIENCE_S = 420.0
"""For a whole rotation: a real kubelet brings each of its two changes within 100 s, and a new certificate signs when it
is four minutes old."""


def choose_issuer(cluster: Cluster, issuer: Json) -> None:
    """As a person does; a null takes the other kind away."""
    patch = json.dumps({"spec": {"issuer": issuer}})
    cluster("patch", "trustdomain", TRUST_DOMAIN, "--type=merge", "-p", patch)


def put_secret(cluster: Cluster, namespace: str, data: dict[str, str]) -> None:
    """A Secret as somebody else keeps it, over what it held."""
    metadata = {"name": NAME, "namespace": namespace}
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})


def condition(cluster: Cluster, kind: str = "IssuerAccepted") -> Json:
    """Of the trust domain; empty while it is not stated."""
    conditions = _status(cluster).get("conditions", ())
    return next((each for each in conditions if each["type"] == kind), {})


def signer(cluster: Cluster) -> Json:
    """The authority that signs, when it is the only one; else empty."""
    status = _status(cluster)
    authorities = status.get("authorities", [])
    alone = len(authorities) == 1 and authorities[0]["state"] == "Active"
    return authorities[0] if alone and status["rotation"]["state"] == "Idle" else {}


def signing(cluster: Cluster, namespace: str) -> x509.Certificate | None:
    """The certificate that signs leaves now, from the operator's own copy."""
    names = [each["name"] for each in _status(cluster).get("authorities", ()) if each["state"] == "Active"]
    return chain_in(cluster.get("secret", names[0], namespace))[0] if names else None


def until_signs(cluster: Cluster, certificate: x509.Certificate, *pods: tuple[str, str]) -> None:
    """Until this certificate signs, no other is needed, and the leaves of these pods are of it."""
    wanted = key_identifier_of(certificate)

    def look() -> bool:
        return bool(signer(cluster)) and all(leaf_of(secret_of(cluster, *pod)).issuer == wanted for pod in pods)

    until(f"{certificate.subject.rfc4514_string()} signs alone", look, PATIENCE_S)


def chain_in(secret: Json, name: str = "tls.crt") -> list[x509.Certificate]:
    """The certificates of a Secret's file."""
    return x509.load_pem_x509_certificates(b64decode(secret["data"][name]))


def _status(cluster: Cluster) -> Json:
    found: Json = cluster.get("trustdomain", TRUST_DOMAIN).get("status") or {}
    return found
