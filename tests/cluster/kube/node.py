"""The node: containerd, kubelet, kube-proxy and the cluster's DNS."""

import json

from cluster.kube import cgroups, versions
from cluster.kube.control_plane import Credentials
from cluster.kube.manifests import Manifest
from cluster.kube.parts import INSIDE_PATH, Parts, write_inside
from cluster.kube.places import INSIDE
from cluster.kube.sandbox import BRIDGE, NODE_ADDRESS, NODE_ADDRESS6, Sandbox
from cluster.kube.variant import Variant

NAME = "node1"
DNS_ADDRESS = "10.96.0.10"
CONTAINERD = "/run/containerd/containerd.sock"

CONTAINERD_CONFIG = f"""\
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD}"
[plugins.'io.containerd.internal.v1.opt']
  path = "/var/lib/containerd-opt"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{versions.PAUSE_IMAGE}"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true  # root without CAP_SYS_RESOURCE may raise a score, never lower it
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["{INSIDE}/bin"]
  conf_dir = "{INSIDE}/etc/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
"""


def start_containerd(parts: Parts) -> None:
    """Return when it answers, so that images can be imported."""
    parts.start("containerd", ["containerd", "-c", write_inside("containerd.toml", CONTAINERD_CONFIG)])
    parts.wait("containerd", lambda: ctr(parts.sandbox, "version"))


def ctr(sandbox: Sandbox, *words: str) -> str:
    """containerd's own client, in the name space that kubelet uses."""
    path = f"PATH={INSIDE_PATH}"
    return sandbox.run(["env", path, f"{INSIDE}/bin/ctr", f"--address={CONTAINERD}", "--namespace=k8s.io", *words])


def start(parts: Parts, credentials: Credentials, variant: Variant) -> None:
    """Start what makes a node of the machine; it is Ready some seconds later."""
    write_inside("cni/10-handfast.conflist", json.dumps(_network(variant)))
    resolver = write_inside("resolv.conf", f"nameserver {NODE_ADDRESS}\n")
    kubelet = write_inside("kubelet.json", json.dumps(_kubelet(credentials, resolver)))
    parts.start(
        "kubelet",
        [
            "kubelet",
            f"--config={kubelet}",
            f"--kubeconfig={credentials.kubelet}",
            f"--hostname-override={NAME}",
            f"--node-ip={','.join([NODE_ADDRESS, *([NODE_ADDRESS6] if variant.dual_stack else [])])}",
        ],
    )
    parts.start(
        "kube-proxy",
        [
            "kube-proxy",
            f"--kubeconfig={credentials.proxy}",
            f"--proxy-mode={variant.proxy_mode}",
            f"--hostname-override={NAME}",
            f"--cluster-cidr={','.join(variant.pod_ranges)}",
            "--bind-address=127.0.0.1",
            "--conntrack-max-per-core=0",  # that limit is the machine's, not the namespace's
        ],
    )
    corefile = write_inside("Corefile", _corefile(credentials.dns))
    parts.start("coredns", ["coredns", "-conf", corefile])


def dns_service() -> list[Manifest]:
    """DNS at a Service address, as every cluster has it, in front of the one process that serves it."""
    metadata = {"name": "kube-dns", "namespace": "kube-system"}
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"clusterIP": DNS_ADDRESS, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": metadata | {"labels": {"kubernetes.io/service-name": "kube-dns"}},
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": True}}],
        },
    ]


def _corefile(kubeconfig: str) -> str:
    """The cluster's own names and no others: there is nobody to forward a question to."""
    return f"""\
.:53 {{
  bind {NODE_ADDRESS}
  errors
  kubernetes cluster.local in-addr.arpa ip6.arpa {{
    kubeconfig {kubeconfig}
  }}
  cache 2
}}
"""


def _network(variant: Variant) -> Manifest:
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,  # a pod may reach itself through its own Service
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": each}] for each in variant.pod_ranges],
            "routes": [{"dst": each} for each in ("0.0.0.0/0", "::/0")[: len(variant.pod_ranges)]],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "handfast", "plugins": [bridge, portmap]}


def _kubelet(credentials: Credentials, resolver: str) -> Manifest:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "tlsCertFile": credentials.kubelet_certificate,
        "tlsPrivateKeyFile": credentials.kubelet_key,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": credentials.authority},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroups.NAME}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,  # needs file system facts that cgroup v1 machines may not give
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": resolver,
        "syncFrequency": "10s",  # a changed Secret reaches its pod after one to two of these; the default is 60 s
        "serializeImagePulls": False,
        "imageGCHighThresholdPercent": 100,  # an image that was collected could not be pulled again
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
        },
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
    }
