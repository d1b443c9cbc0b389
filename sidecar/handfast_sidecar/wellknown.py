"""Names and numbers that other programs depend on: ports, labels, annotations, users, paths.

One place for all of them, mirrored by the table in docs/reference.md: changing one is a breaking change and goes
through the changelog.
"""

from typing import Final

API_GROUP: Final = "handfast.dev"
"""Of the custom resources, and before the slash of labels and annotations."""
API_VERSION: Final = "v1alpha1"
"""Of the custom resources."""

# --- the sidecar's ports, all inside the pod's own network namespace
OUTBOUND_PORT: Final = 14001
"""What the application dials is redirected here."""
INBOUND_PORT: Final = 14006
"""What reaches the pod in plaintext is redirected here."""
MESH_PORT: Final = 14008
"""Tunnels from other sidecars."""
ADMIN_PORT: Final = 14020
"""`/healthz`, `/readyz`, `/metrics` and the rewritten probes."""
SIDECAR_PORTS: Final = frozenset({OUTBOUND_PORT, INBOUND_PORT, MESH_PORT, ADMIN_PORT})

# --- the operator's ports
DIRECTORY_PORT: Final = 14010
"""Of handfast-directory: the streams of sidecars, and of the controller."""
WEBHOOK_PORT: Final = 14443
"""Of handfast-webhook: admission reviews."""
CONTROLLER_HEALTH_PORT: Final = 14030
"""`/healthz`, `/readyz`, `/metrics` of handfast-controller."""
WEBHOOK_HEALTH_PORT: Final = 14031
"""The same of handfast-webhook."""
DIRECTORY_HEALTH_PORT: Final = 14032
"""The same of handfast-directory."""
EVIDENCE_PORT: Final = 14033
"""`/evidence`, on the loopback of a directory's pod alone: who may forward a port to that pod may read it."""

# --- protocols (docs/protocol.md)
ALPN_TUNNEL: Final = "handfast/1"
"""Between sidecars, on the mesh port."""
ALPN_DIRECTORY: Final = "handfast-directory/1"
"""Sidecars', on the directory's port."""
ALPN_EVIDENCE: Final = "handfast-evidence/1"
"""The controller's, on the directory's port."""

# --- users
PROXY_UID: Final = 7443
"""The proxy's user: its own traffic is told apart from the application's by it, so no application may run as it."""
OPERATOR_UID: Final = 65532
"""Of controller, webhook and directory."""

# --- labels and annotations
LABEL_INJECT: Final = "handfast.dev/inject"
"""On a namespace or a pod: whether pods that are created from now on get a sidecar."""
INJECT_ENABLED: Final = "enabled"
"""Value of the label: they do."""
INJECT_DISABLED: Final = "disabled"
"""Value of the label, on a pod: it gets none."""
ANNOTATION_PROXY_PROTOCOL_PORTS: Final = "handfast.dev/proxy-protocol-ports"
"""On a pod: ports on which its application is told who calls, by a PROXY protocol v2 header."""
LABEL_IDENTITY: Final = "handfast.dev/identity"
"""On the Secret of a pod's leaf, its key and configuration; value "true"."""
LABEL_AUTHORITY: Final = "handfast.dev/authority"
"""On the Secret of an authority's key; value: the trust domain."""
LABEL_SERVING: Final = "handfast.dev/serving"
"""On the Secret of a certificate the operator itself serves with; value: webhook or directory."""
ANNOTATION_INTERCEPTION: Final = "handfast.dev/interception"
"""On a pod: how its traffic reaches the sidecar."""
INTERCEPTION_REDIRECT: Final = "redirect"
"""What a pod has that says nothing: nft brings its traffic to the proxy."""
INTERCEPTION_NONE: Final = "none"
"""Explicit mode: no privilege in the pod; the application dials its upstreams on loopback."""
ANNOTATION_UPSTREAMS: Final = "handfast.dev/upstreams"
"""On a pod: what its application dials on loopback, and where that leads (`config.upstreams`)."""
ANNOTATION_SKIP_INBOUND_PORTS: Final = "handfast.dev/skip-inbound-ports"
"""On a pod: ports that are reached directly, and that nothing guards (`config.skips`)."""
ANNOTATION_SKIP_OUTBOUND_PORTS: Final = "handfast.dev/skip-outbound-ports"
"""On a pod: ports that it dials directly, in plaintext."""
ANNOTATION_SKIP_OUTBOUND_CIDRS: Final = "handfast.dev/skip-outbound-cidrs"
"""On a pod: addresses and networks that it dials directly, in plaintext."""

# --- the operator's names, in its own namespace
CONTROLLER_ACCOUNT: Final = "handfast-controller"
"""Also the name of its Deployment."""
WEBHOOK_ACCOUNT: Final = "handfast-webhook"
"""Also the name of its Deployment and its Service."""
DIRECTORY_ACCOUNT: Final = "handfast-directory"
"""Also the name of its Deployment and its Service, and the last part of the directory's SPIFFE ID."""
WEBHOOK_CONFIGURATION: Final = "handfast"
"""Of the mutating and of the validating configuration."""

# --- in an injected pod
INIT_CONTAINER: Final = "handfast-init"
"""Writes the redirect rules, and ends; absent in explicit mode."""
PROXY_CONTAINER: Final = "handfast-proxy"
"""The sidecar: an init container with `restartPolicy: Always`."""
IDENTITY_VOLUME: Final = "handfast-identity"
"""The pod's Secret."""
CACHE_VOLUME: Final = "handfast-cache"
"""The directory's last answers, in memory."""
IDENTITY_PATH: Final = "/var/run/handfast/identity"
"""Where the first is mounted."""
CACHE_PATH: Final = "/var/run/handfast/cache"
"""Where the second is."""
FILE_CERTIFICATE: Final = "tls.crt"
"""Leaf, and the intermediates above it."""
FILE_KEY: Final = "tls.key"
"""Its key, PKCS #8."""
FILE_BUNDLE: Final = "ca.crt"
"""The roots that are trusted."""
FILE_CONFIG: Final = "config.json"
"""Policy and settings (docs/protocol.md)."""

# --- environment of the proxy container, written by the webhook
ENV_POD_NAME: Final = "HANDFAST_POD_NAME"
"""By the downward API."""
ENV_POD_NAMESPACE: Final = "HANDFAST_POD_NAMESPACE"
"""By the downward API."""
ENV_POD_UID: Final = "HANDFAST_POD_UID"
"""By the downward API."""
ENV_POD_IPS: Final = "HANDFAST_POD_IPS"
"""Comma-separated, from the downward API's status.podIPs."""
ENV_PROBES: Final = "HANDFAST_PROBES"
"""JSON of `config.probes`: what kubelet would have asked the application."""
ENV_PROXY_PROTOCOL_PORTS: Final = "HANDFAST_PROXY_PROTOCOL_PORTS"
"""The pod's annotation `handfast.dev/proxy-protocol-ports`, where it has one."""
ENV_LOG_LEVEL: Final = "HANDFAST_LOG_LEVEL"
"""The chart's `sidecar.logLevel`."""
ENV_CIPHER_SUITES: Final = "HANDFAST_CIPHER_SUITES"
"""`config.cipher_suites`; left out for OpenSSL's own choice."""
ENV_INTERCEPTION: Final = "HANDFAST_INTERCEPTION"
"""The annotation's word; left out where traffic is redirected."""
ENV_LOOPBACK_PORTS: Final = "HANDFAST_LOOPBACK_PORTS"
"""`config.ports`: in explicit mode, those that the pod's containers declare, which peers may reach on loopback."""
ENV_UPSTREAMS: Final = "HANDFAST_UPSTREAMS"
"""`config.upstreams`."""

# --- environment of the init container, written by the webhook
ENV_SKIP_INBOUND_PORTS: Final = "HANDFAST_SKIP_INBOUND_PORTS"
"""The annotation of that name, merged and sorted (`config.skips`)."""
ENV_SKIP_OUTBOUND_PORTS: Final = "HANDFAST_SKIP_OUTBOUND_PORTS"
"""The same."""
ENV_SKIP_OUTBOUND_CIDRS: Final = "HANDFAST_SKIP_OUTBOUND_CIDRS"
"""The same."""
