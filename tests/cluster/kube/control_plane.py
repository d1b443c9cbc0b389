"""etcd, the API server, the controllers and the scheduler, with their credentials."""

import json
from dataclasses import dataclass
from pathlib import Path

from cluster.kube import pki
from cluster.kube.parts import Parts, kubectl_raw, write_inside
from cluster.kube.places import KUBECONFIG
from cluster.kube.sandbox import NODE_ADDRESS
from cluster.kube.variant import Variant

SERVER = f"https://{NODE_ADDRESS}:6443"
ETCD = "http://127.0.0.1:2379"  # inside the sandbox: its own loopback
FIRST_SERVICE = "10.96.0.1"
SERVER_NAMES = (
    NODE_ADDRESS,
    FIRST_SERVICE,
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The paths, inside the sandbox, of what a later part is started with."""

    authority: str
    kubelet_certificate: str
    kubelet_key: str
    kubelet: str
    proxy: str
    dns: str


def start(parts: Parts, binaries: Path, node: str, variant: Variant) -> Credentials:
    """Start it, and return when the API server says that it is ready."""
    authority = pki.Authority()
    ca = write_inside("ca.crt", authority.credential.certificate)
    ca_key = write_inside("ca.key", authority.credential.key)
    token_key = write_inside("service-accounts.key", pki.service_account_key())
    serving = authority.issue("kube-apiserver", hosts=SERVER_NAMES)
    to_kubelet = authority.issue("kube-apiserver-kubelet-client", group="system:masters")
    admin = authority.issue("admin", group="system:masters")
    node_credential = authority.issue(f"system:node:{node}", group="system:nodes", hosts=(node, NODE_ADDRESS))

    def kubeconfig(name: str, credential: pki.Credential) -> str:
        return write_inside(f"{name}.conf", json.dumps(authority.kubeconfig(SERVER, credential)))

    controllers = kubeconfig("controllers", authority.issue("system:kube-controller-manager"))
    scheduler = kubeconfig("scheduler", authority.issue("system:kube-scheduler"))
    KUBECONFIG.touch(mode=0o600)
    KUBECONFIG.write_text(json.dumps(authority.kubeconfig(SERVER, admin)))

    parts.start("etcd", _etcd())
    parts.start(
        "kube-apiserver",
        [
            "kube-apiserver",
            f"--etcd-servers={ETCD}",
            f"--bind-address={NODE_ADDRESS}",
            f"--advertise-address={NODE_ADDRESS}",
            "--secure-port=6443",
            f"--service-cluster-ip-range={','.join(variant.service_ranges)}",
            f"--client-ca-file={ca}",
            f"--tls-cert-file={write_inside('apiserver.crt', serving.certificate)}",
            f"--tls-private-key-file={write_inside('apiserver.key', serving.key)}",
            f"--kubelet-client-certificate={write_inside('to-kubelet.crt', to_kubelet.certificate)}",
            f"--kubelet-client-key={write_inside('to-kubelet.key', to_kubelet.key)}",
            f"--kubelet-certificate-authority={ca}",
            "--kubelet-preferred-address-types=InternalIP",  # the node's name is in no DNS; logs and exec need it
            f"--service-account-key-file={token_key}",
            f"--service-account-signing-key-file={token_key}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
        ],
    )
    parts.wait("the API server", lambda: kubectl_raw(binaries, KUBECONFIG, "get", "--raw", "/readyz"))
    parts.start(
        "kube-controller-manager",
        [
            "kube-controller-manager",
            f"--kubeconfig={controllers}",
            f"--service-account-private-key-file={token_key}",
            f"--root-ca-file={ca}",
            f"--cluster-signing-cert-file={ca}",
            f"--cluster-signing-key-file={ca_key}",
            "--use-service-account-credentials",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        ],
    )
    parts.start(
        "kube-scheduler",
        ["kube-scheduler", f"--kubeconfig={scheduler}", "--bind-address=127.0.0.1", "--leader-elect=false"],
    )
    return Credentials(
        authority=ca,
        kubelet_certificate=write_inside("kubelet.crt", node_credential.certificate),
        kubelet_key=write_inside("kubelet.key", node_credential.key),
        kubelet=kubeconfig("kubelet", node_credential),
        proxy=kubeconfig("proxy", authority.issue("system:kube-proxy")),
        dns=kubeconfig("dns", authority.issue("coredns", group="system:masters")),
    )


def _etcd() -> list[str]:
    """Without fsync: what a power cut would lose, nobody wants back."""
    return [
        "etcd",
        "--data-dir=/var/lib/etcd",
        "--unsafe-no-fsync",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=default=http://127.0.0.1:2380",
    ]
