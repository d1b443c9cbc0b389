"""What the operator remembers of the API server's objects: slotted, frozen, and no more than its parts read.

Parsed once, where an object arrives. A cluster has tens of thousands of pods, so every field here costs memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import Any, Final

from handfast_sidecar.wellknown import (
    ANNOTATION_INTERCEPTION,
    ANNOTATION_SKIP_INBOUND_PORTS,
    ANNOTATION_SKIP_OUTBOUND_CIDRS,
    ANNOTATION_SKIP_OUTBOUND_PORTS,
    ENV_INTERCEPTION,
    ENV_SKIP_INBOUND_PORTS,
    ENV_SKIP_OUTBOUND_CIDRS,
    ENV_SKIP_OUTBOUND_PORTS,
    IDENTITY_VOLUME,
    INIT_CONTAINER,
    INTERCEPTION_REDIRECT,
    PROXY_CONTAINER,
)

Raw = Mapping[str, Any]
Key = tuple[str, str]
"""Namespace and name; the namespace of a cluster-scoped object is empty."""
TERMINAL_PHASES: Final = frozenset({"Succeeded", "Failed"})
_AROUND: Final = {
    ENV_SKIP_INBOUND_PORTS: ANNOTATION_SKIP_INBOUND_PORTS,
    ENV_SKIP_OUTBOUND_PORTS: ANNOTATION_SKIP_OUTBOUND_PORTS,
    ENV_SKIP_OUTBOUND_CIDRS: ANNOTATION_SKIP_OUTBOUND_CIDRS,
    ENV_INTERCEPTION: ANNOTATION_INTERCEPTION,
}


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A TCP port that a container declares."""

    name: str
    port: int
    host_port: int = 0
    """The port of its node that leads to it; 0: none."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, and whether our sidecar is in its spec."""

    namespace: str
    name: str
    uid: str
    resource_version: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    """Only those of our own group."""
    service_account: str
    node: str
    ips: tuple[str, ...]
    phase: str
    ready: bool
    deleting: bool
    host_network: bool
    mirror: bool
    """A static pod's mirror: admission never changes it."""
    secret: str
    """The name of its identity Secret, from the volume in its spec; empty when our sidecar is not in it."""
    proxy_image: str
    proxy_running: bool
    owner: str
    """Kind/name of its controller, such as ReplicaSet/orders-7d9f; empty when it has none."""
    windows: bool = False
    """By its os field, or by the nodes that it asks for."""
    ports: tuple[ContainerPort, ...] = ()
    """Of its containers, native sidecars and ours included."""
    around: tuple[str, ...] = ()
    """The annotations by which its traffic goes around the sidecar, as its containers were made: what the annotations
    themselves say may have been changed since."""

    @property
    def key(self) -> Key:
        return (self.namespace, self.name)

    @property
    def meshed(self) -> bool:
        """Read from the spec, for the life of the UID: a sidecar that is down is still a sidecar."""
        return bool(self.secret)

    @property
    def terminal(self) -> bool:
        """Its address may already belong to another pod."""
        return self.phase in TERMINAL_PHASES


@dataclass(frozen=True, slots=True)
class Node:
    """A node's place; the directory asks for metadata only."""

    name: str
    resource_version: int
    zone: str
    """Label topology.kubernetes.io/zone; empty without it."""

    @property
    def key(self) -> Key:
        return ("", self.name)


@dataclass(frozen=True, slots=True)
class Namespace:
    name: str
    resource_version: int
    labels: Mapping[str, str]
    terminating: bool

    @property
    def key(self) -> Key:
        return ("", self.name)


@dataclass(frozen=True, slots=True)
class SecretMeta:
    """A Secret without its data: the controller asks for metadata only."""

    namespace: str
    name: str
    uid: str
    resource_version: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    """Only those of our own group."""
    owner_uids: tuple[str, ...]
    managers: tuple[str, ...]
    """Who owns a part of its data or of our annotations: any but our own means that somebody else wrote it."""
    data_keys: tuple[str, ...] = ()
    """Keys of its data, as far as the managed fields tell."""

    @property
    def key(self) -> Key:
        return (self.namespace, self.name)


def parse_pod(raw: Raw) -> Pod:
    """A pod from the API server's JSON."""
    meta, spec, status = raw["metadata"], raw["spec"], raw.get("status", {})
    proxy = next((each for each in spec.get("initContainers", ()) if each["name"] == PROXY_CONTAINER), None)
    volume: Raw = next((each for each in spec.get("volumes", ()) if each["name"] == IDENTITY_VOLUME), {})
    meshed = proxy is not None and proxy.get("restartPolicy") == "Always"
    annotations = meta.get("annotations", {})
    states = {each["name"]: each.get("state", {}) for each in status.get("initContainerStatuses", ())}
    owner = next((each for each in meta.get("ownerReferences", ()) if each.get("controller")), None)
    return Pod(
        namespace=intern(meta["namespace"]),
        name=meta["name"],
        uid=meta["uid"],
        resource_version=int(meta["resourceVersion"]),
        labels=_interned(meta.get("labels", {})),
        annotations=_interned(_ours(annotations)),
        service_account=intern(spec.get("serviceAccountName") or "default"),
        node=intern(spec.get("nodeName", "")),
        ips=tuple(each["ip"] for each in status.get("podIPs", ()) if each.get("ip")),
        phase=intern(status.get("phase", "Pending")),
        ready=any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", ())),
        deleting="deletionTimestamp" in meta,
        host_network=bool(spec.get("hostNetwork")),
        mirror="kubernetes.io/config.mirror" in annotations,
        secret=volume.get("secret", {}).get("secretName", "") if meshed else "",
        proxy_image=intern(proxy.get("image", "")) if proxy is not None and meshed else "",
        proxy_running="running" in states.get(PROXY_CONTAINER, {}),
        owner=intern(f"{owner['kind']}/{owner['name']}") if owner else "",
        windows="windows"
        in ((spec.get("os") or {}).get("name"), (spec.get("nodeSelector") or {}).get("kubernetes.io/os")),
        ports=_container_ports(spec),
        around=_around(spec) if meshed else (),
    )


def parse_node(raw: Raw) -> Node:
    """A node from its PartialObjectMetadata."""
    meta = raw["metadata"]
    zone = meta.get("labels", {}).get("topology.kubernetes.io/zone", "")
    return Node(intern(meta["name"]), int(meta["resourceVersion"]), intern(zone))


def parse_namespace(raw: Raw) -> Namespace:
    """A namespace from the API server's JSON."""
    meta = raw["metadata"]
    return Namespace(
        name=intern(meta["name"]),
        resource_version=int(meta["resourceVersion"]),
        labels=_interned(meta.get("labels", {})),
        terminating=raw.get("status", {}).get("phase") == "Terminating",
    )


def parse_secret_meta(raw: Raw) -> SecretMeta:
    """A Secret from its PartialObjectMetadata."""
    meta = raw["metadata"]
    fields = [(each.get("manager", ""), each.get("fieldsV1", {})) for each in meta.get("managedFields", ())]
    return SecretMeta(
        namespace=intern(meta["namespace"]),
        name=meta["name"],
        uid=meta["uid"],
        resource_version=int(meta["resourceVersion"]),
        labels=_interned(meta.get("labels", {})),
        # Names and fingerprints are the same in all of them; others' annotations may be as long as the Secret itself.
        annotations=_interned(_ours(meta.get("annotations", {}))),
        owner_uids=tuple(each["uid"] for each in meta.get("ownerReferences", ())),
        managers=tuple(sorted({intern(manager) for manager, owned in fields if _owns_identity(owned)})),
        data_keys=tuple(
            sorted({intern(key[2:]) for _, owned in fields for key in owned.get("f:data", {}) if key != "."})
        ),
    )


def _owns_identity(owned: Raw) -> bool:
    annotations = owned.get("f:metadata", {}).get("f:annotations", {})
    return "f:data" in owned or any(key.startswith("f:handfast.dev/") for key in annotations)


def _container_ports(spec: Raw) -> tuple[ContainerPort, ...]:
    sidecars = (each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always")
    return _shared(
        tuple(
            ContainerPort(intern(port.get("name") or ""), port["containerPort"], port.get("hostPort") or 0)
            for container in (*sidecars, *(spec.get("containers") or ()))
            for port in container.get("ports") or ()
            if (port.get("protocol") or "TCP") == "TCP" and port.get("containerPort")
        )
    )


def _around(spec: Raw) -> tuple[str, ...]:
    """By the variables that the webhook wrote into our containers: a pod's spec keeps them for its life."""
    ours = (each for each in spec.get("initContainers") or () if each.get("name") in (INIT_CONTAINER, PROXY_CONTAINER))
    said = {each["name"]: each.get("value", "") for container in ours for each in container.get("env") or ()}
    return tuple(
        annotation
        for variable, annotation in _AROUND.items()
        if said.get(variable, "") not in ("", INTERCEPTION_REDIRECT)
    )


@lru_cache(maxsize=4096)
def _shared(ports: tuple[ContainerPort, ...]) -> tuple[ContainerPort, ...]:
    """Thousands of pods of one workload hold one tuple."""
    return ports


def _ours(annotations: Mapping[str, str]) -> Mapping[str, str]:
    return {key: value for key, value in annotations.items() if key.startswith("handfast.dev/")}


def _interned(labels: Mapping[str, str]) -> Mapping[str, str]:
    return {intern(key): intern(value) for key, value in labels.items()}
