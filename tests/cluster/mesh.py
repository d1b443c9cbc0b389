"""What the cluster tests ask of Handfast: policies, the sidecars' metrics and access log, and the Secret of a pod."""

import json
import sys
import time
from base64 import b64decode
from collections.abc import Callable
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from cluster.cluster import Cluster
from cluster.kube.manifests import Manifest
from handfast_bench.scrape import Scrape
from handfast_sidecar.identity.leaf import Leaf, read_svid
from handfast_sidecar.wellknown import ADMIN_PORT, IDENTITY_VOLUME, PROXY_CONTAINER
from support.pki import TestAuthority

T = TypeVar("T")
TRUST_DOMAIN = "cluster.local"
_FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"
_FETCH_ALL = """\
import json, sys, urllib.request
def fetch(url):
    try:
        return urllib.request.urlopen(url, timeout=2).read().decode()
    except OSError:
        return ""
print(json.dumps([fetch(url) for url in sys.argv[1:]]))
"""
POLL_S = 0.1


def policy(namespace: str, name: str, **spec: Any) -> Manifest:
    """An MTLSPolicy."""
    return {
        "apiVersion": "handfast.dev/v1alpha1",
        "kind": "MTLSPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def cluster_policy(name: str, **spec: Any) -> Manifest:
    """A ClusterMTLSPolicy."""
    return {
        "apiVersion": "handfast.dev/v1alpha1",
        "kind": "ClusterMTLSPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def identity_of(namespace: str, account: str = "default") -> str:
    """The SPIFFE ID of a service account's pods."""
    return f"spiffe://{TRUST_DOMAIN}/ns/{namespace}/sa/{account}"


def until(what: str, look: Callable[[], T], timeout_s: float = 20) -> T:
    """Ask until the answer is true: for facts that nobody announces. The answer; AssertionError when time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}; last seen: {found!r}"
        time.sleep(POLL_S)


def since(moment: float) -> float:
    """Seconds since a moment of the monotonic clock, as figures have them."""
    return round(time.monotonic() - moment, 1)


def events(cluster: Cluster, namespace: str, **fields: str) -> list[Manifest]:
    """The Events whose fields (`reason`, `involvedObject_name`) have these values."""
    chosen = ",".join(f"{name.replace('_', '.')}={value}" for name, value in fields.items())
    listed = cluster("get", "events", f"--namespace={namespace}", f"--field-selector={chosen}", "--output=json")
    found: list[Manifest] = json.loads(listed)["items"]
    return found


def metric(cluster: Cluster, pod: str, namespace: str, name: str, **labels: str) -> int:
    """The sum of a sidecar's samples that have these labels."""
    address = cluster.address_of(pod, namespace)
    text = cluster.on_node(sys.executable, "-c", _FETCH, f"http://{address}:{ADMIN_PORT}/metrics")
    return Scrape.parse(text).total(name, **labels)


def access_log(cluster: Cluster, pod: str, namespace: str) -> list[dict[str, Any]]:
    """The lines of connections that the sidecar of a pod has written."""
    return [line for line in proxy_log(cluster, pod, namespace) if line.get("logger") == "handfast.access"]


def proxy_log(cluster: Cluster, pod: str, namespace: str) -> list[dict[str, Any]]:
    """All lines of a sidecar."""
    text = cluster.logs(pod, namespace, container=PROXY_CONTAINER)
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def secret_name(pod: Manifest) -> str:
    """The identity Secret that the webhook chose."""
    volume = next(each for each in pod["spec"]["volumes"] if each["name"] == IDENTITY_VOLUME)
    return str(volume["secret"]["secretName"])


def secret_of(cluster: Cluster, pod: str, namespace: str) -> Manifest:
    """The Secret with a pod's leaf, key, bundle and configuration."""
    return cluster.get("secret", secret_name(cluster.get("pod", pod, namespace)), namespace)


def authority_of(cluster: Cluster, namespace: str) -> TestAuthority:
    """The cluster's own root, from the operator's namespace."""
    [secret] = cluster.list("secrets", namespace, selector="handfast.dev/authority")
    certificate = x509.load_pem_x509_certificate(b64decode(secret["data"]["tls.crt"]))
    key = load_pem_private_key(b64decode(secret["data"]["tls.key"]), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return TestAuthority.of(TRUST_DOMAIN, certificate, key)


def leaf_of(secret: Manifest) -> Leaf:
    """The leaf in a Secret, checked as peers check it."""
    return read_svid(x509.load_pem_x509_certificate(b64decode(secret["data"]["tls.crt"])))


def scrapes(cluster: Cluster, namespace: str) -> dict[str, Scrape]:
    """What each sidecar of a namespace that answers tells of itself; only one process is started."""
    pods = [pod for pod in cluster.list("pods", namespace) if (pod.get("status") or {}).get("podIP")]
    texts = fetched(cluster, *(f"http://{pod['status']['podIP']}:{ADMIN_PORT}/metrics" for pod in pods))
    return {pod["metadata"]["name"]: Scrape.parse(text) for pod, text in zip(pods, texts, strict=True) if text}


def fetched(cluster: Cluster, *urls: str) -> list[str]:
    """What is answered to the node at these; empty where nobody does."""
    texts: list[str] = json.loads(cluster.on_node(sys.executable, "-c", _FETCH_ALL, *urls))
    return texts


def expiries_loaded(cluster: Cluster, namespace: str) -> dict[str, float]:
    """When the leaf that each sidecar of a namespace has loaded expires, in Unix time."""
    name = "handfast_certificate_expiration_timestamp_seconds"
    return {pod: scrape.total(name) for pod, scrape in scrapes(cluster, namespace).items()}


def loaded_until(cluster: Cluster, pod: str, namespace: str) -> float:
    """When the leaf that a sidecar has loaded expires, in Unix time."""
    return metric(cluster, pod, namespace, "handfast_certificate_expiration_timestamp_seconds")
