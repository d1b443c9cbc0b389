"""Names and numbers that other programs depend on: ports, labels, annotations, users, paths.

One place for all of them, mirrored by the table in docs/reference.md: changing one is a breaking change and goes
through the changelog.
"""

from typing import Final

API_GROUP: Final = "handfast.dev"
API_VERSION: Final = "v1alpha1"

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
WEBHOOK_PORT: Final = 14443
CONTROLLER_HEALTH_PORT: Final = 14030
WEBHOOK_HEALTH_PORT: Final = 14031
DIRECTORY_HEALTH_PORT: Final = 14032

# --- protocols (docs/protocol.md)
ALPN_TUNNEL: Final = "handfast/1"
ALPN_DIRECTORY: Final = "handfast-directory/1"

# --- users
PROXY_UID: Final = 7443
"""The proxy's user: its own traffic is told apart from the application's by it, so no application may run as it."""
OPERATOR_UID: Final = 65532

# --- labels and annotations
LABEL_INJECT: Final = "handfast.dev/inject"
INJECT_ENABLED: Final = "enabled"
INJECT_DISABLED: Final = "disabled"
ANNOTATION_PROXY_PROTOCOL_PORTS: Final = "handfast.dev/proxy-protocol-ports"
"""On a pod: ports on which its application is told who calls, by a PROXY protocol v2 header."""
LABEL_IDENTITY: Final = "handfast.dev/identity"
"""On the Secret of a pod's leaf, its key and configuration; value "true"."""
LABEL_AUTHORITY: Final = "handfast.dev/authority"
"""On the Secret of an authority's key; value: the trust domain."""
LABEL_SERVING: Final = "handfast.dev/serving"
"""On the Secret of a certificate the operator itself serves with; value: webhook or directory."""
ANNOTATION_INTERCEPTION: Final = "handfast.dev/interception"
INTERCEPTION_REDIRECT: Final = "redirect"
"""What a pod has that says nothing: nft brings its traffic to the proxy."""
INTERCEPTION_NONE: Final = "none"
"""Explicit mode: no privilege in the pod; the application dials its upstreams on loopback."""
ANNOTATION_UPSTREAMS: Final = "handfast.dev/upstreams"
"""`config.upstreams`."""
ANNOTATION_SKIP_INBOUND_PORTS: Final = "handfast.dev/skip-inbound-ports"
ANNOTATION_SKIP_OUTBOUND_PORTS: Final = "handfast.dev/skip-outbound-ports"
ANNOTATION_SKIP_OUTBOUND_CIDRS: Final = "handfast.dev/skip-outbound-cidrs"
"""`config.skips`."""

# --- the operator's names, in its own namespace
CONTROLLER_ACCOUNT: Final = "handfast-controller"
WEBHOOK_ACCOUNT: Final = "handfast-webhook"
"""Also the name of its Deployment and its Service."""
DIRECTORY_ACCOUNT: Final = "handfast-directory"
"""Also the name of its Deployment and its Service, and the last part of the directory's SPIFFE ID."""
WEBHOOK_CONFIGURATION: Final = "handfast"
"""Of the mutating and of the validating configuration."""

# --- in an injected pod
INIT_CONTAINER: Final = "handfast-init"
PROXY_CONTAINER: Final = "handfast-proxy"
IDENTITY_VOLUME: Final = "handfast-identity"
CACHE_VOLUME: Final = "handfast-cache"
IDENTITY_PATH: Final = "/var/run/handfast/identity"
CACHE_PATH: Final = "/var/run/handfast/cache"
FILE_CERTIFICATE: Final = "tls.crt"
FILE_KEY: Final = "tls.key"
FILE_BUNDLE: Final = "ca.crt"
FILE_CONFIG: Final = "config.json"

# --- environment of the proxy container, written by the webhook
ENV_POD_NAME: Final = "HANDFAST_POD_NAME"
ENV_POD_NAMESPACE: Final = "HANDFAST_POD_NAMESPACE"
ENV_POD_UID: Final = "HANDFAST_POD_UID"
ENV_POD_IPS: Final = "HANDFAST_POD_IPS"
"""Comma-separated, from the downward API's status.podIPs."""
ENV_PROBES: Final = "HANDFAST_PROBES"
"""JSON of `config.probes`: what kubelet would have asked the application."""
ENV_PROXY_PROTOCOL_PORTS: Final = "HANDFAST_PROXY_PROTOCOL_PORTS"
"""The pod's annotation `handfast.dev/proxy-protocol-ports`, where it has one."""
ENV_LOG_LEVEL: Final = "HANDFAST_LOG_LEVEL"
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
ENV_SKIP_OUTBOUND_PORTS: Final = "HANDFAST_SKIP_OUTBOUND_PORTS"
ENV_SKIP_OUTBOUND_CIDRS: Final = "HANDFAST_SKIP_OUTBOUND_CIDRS"
"""`config.skips`."""
