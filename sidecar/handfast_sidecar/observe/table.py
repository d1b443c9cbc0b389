"""Every metric of a sidecar. docs/metrics.md is written from this table: `make metrics-page`."""

from typing import Final

from handfast_sidecar.observe.declared import CounterMetric, Declared, GaugeMetric, Label

DIRECTION: Final = Label("direction", ("in", "out"), "to this pod's application, or from it")
ENCRYPTED: Final = Label("encrypted", ("true", "false"))
SIDE: Final = Label("side", ("client", "server"), "which end of the tunnel this sidecar is")
_REFUSALS: Final = "reference.md#why-a-connection-was-refused"
_PEERS: Final = "certificates.md#why-a-peers-certificate-is-refused"

BUILD: Final = GaugeMetric(
    "handfast_build_info",
    "1, of each program that runs, with its version.",
    (
        Label("component", ("controller", "webhook", "directory", "sidecar")),
        Label("version", (), "such as `0.2.0`: while an upgrade is under way there are two"),
    ),
)
CPU: Final = CounterMetric("process_cpu_seconds_total", "Seconds of CPU that the process has used.")
MEMORY: Final = GaugeMetric("process_resident_memory_bytes", "Bytes of memory that the process has now.")
STARTED: Final = GaugeMetric("process_start_time_seconds", "When the process began, in Unix time.")
PROCESS: Final = (BUILD, CPU, MEMORY, STARTED)
LEAF_ENDS: Final = GaugeMetric(
    "handfast_certificate_expiration_timestamp_seconds",
    "When the loaded leaf expires, in Unix time.",
    note="Of the directory: its serving certificate.",
)
LEAF_RENEWED: Final = GaugeMetric(
    "handfast_certificate_renewal_timestamp_seconds",
    "When the operator begins to renew the loaded leaf, in Unix time, without its jitter.",
)
IDENTITY_REFUSED: Final = GaugeMetric(
    "handfast_identity_refused",
    "1 while the newest version of the pod's Secret cannot be used, so that an older one is, or none.",
)
IDENTITY_RELOADS: Final = CounterMetric("handfast_identity_reloads_total", "Identities loaded after the first one.")
IDENTITY_FAILURES: Final = CounterMetric(
    "handfast_identity_reload_failures_total",
    "Versions of the identity's files that were refused; what was in use before them stays.",
    (
        Label(
            "reason", (), f"[why a certificate is refused]({_PEERS}), `bad_config`, `key_mismatch`, `unreadable_file`"
        ),
    ),
    "Of the directory: of its serving certificate.",
)
OPENED: Final = CounterMetric(
    "handfast_connections_opened_total",
    "Application connections that were carried, by direction and whether they were encrypted.",
    (DIRECTION, ENCRYPTED),
)
CLOSED: Final = CounterMetric(
    "handfast_connections_closed_total",
    "Application connections that ended, by direction, whether they were encrypted, and how they ended.",
    (
        DIRECTION,
        ENCRYPTED,
        Label("reason", (), f"`ok`, or [a reason]({_REFUSALS}) such as `policy_changed`, `revoked`, `tunnel_closed`"),
    ),
)
BYTES: Final = CounterMetric(
    "handfast_bytes_total",
    "Bytes of applications' connections that ended: `in` to this pod's application, `out` from it.",
    (DIRECTION, ENCRYPTED),
    "A connection counts at its end.",
)
DENIED: Final = CounterMetric(
    "handfast_denied_total",
    "Connections that were refused, by direction and reason.",
    (DIRECTION, Label("reason", (), f"[why a connection was refused]({_REFUSALS})")),
)
AUDITED: Final = CounterMetric(
    "handfast_audited_total",
    "Connections that passed and would have been refused, did the policy do more than audit, by direction and reason.",
    (DIRECTION, Label("reason", (), f"[why a connection was refused]({_REFUSALS})")),
)
PLAINTEXT: Final = CounterMetric(
    "handfast_plaintext_connections_total",
    "Connections that passed unencrypted, by direction.",
    (DIRECTION,),
    "A connection counts at its end.",
)
TUNNELS: Final = GaugeMetric("handfast_tunnels", "Open tunnels, by the side that opened them.", (SIDE,))
TUNNELS_OPENED: Final = CounterMetric(
    "handfast_tunnels_opened_total",
    "Tunnels, by TLS version, cipher and group.",
    (
        SIDE,
        Label("version", ("TLSv1.3",)),
        Label("cipher", (), "a TLS 1.3 cipher suite"),
        Label("group", (), "of the key exchange, such as `X25519`; empty where OpenSSL does not tell"),
    ),
)
TUNNELS_CLOSED: Final = CounterMetric(
    "handfast_tunnels_closed_total",
    "Tunnels that ended, by reason.",
    (
        SIDE,
        Label(
            "reason",
            (),
            "such as `drained`, `lost`, `peer_silent`, `certificate_expired`, `revoked`, `root_retired`",
        ),
    ),
)
HANDSHAKE_FAILURES: Final = CounterMetric(
    "handfast_handshake_failures_total",
    "Handshakes that ended in no tunnel, by reason.",
    (SIDE, Label("reason", (), f"[why a peer's certificate is refused]({_PEERS}), `timeout`, `unreachable`, `closed`")),
)
REVOCATIONS: Final = GaugeMetric("handfast_revocations", "Identities and certificates that are revoked.")
DIRECTORY_CONNECTED: Final = GaugeMetric("handfast_directory_connected", "1 while a directory's stream stands.")
DIRECTORY_RECONNECTS: Final = CounterMetric(
    "handfast_directory_reconnects_total",
    "Streams that ended or never opened, by reason.",
    (Label("reason", (), "`renewed` and `goodbye` are planned; `refused`, `timeout`, `closed` and others are not"),),
)
DIRECTORY_ADDRESSES: Final = GaugeMetric("handfast_directory_addresses", "Addresses that are watched.")
ADMIN_BAD_REQUESTS: Final = CounterMetric(
    "handfast_admin_bad_requests_total",
    "Connections to the admin port that were refused.",
    (Label("reason", ("limit", "incomplete", "too_large", "not_http", "timeout", "method", "not_found")),),
)

SIDECAR: Final[tuple[Declared, ...]] = (
    *PROCESS,
    LEAF_ENDS,
    LEAF_RENEWED,
    IDENTITY_REFUSED,
    IDENTITY_RELOADS,
    IDENTITY_FAILURES,
    OPENED,
    CLOSED,
    BYTES,
    PLAINTEXT,
    DENIED,
    AUDITED,
    TUNNELS,
    TUNNELS_OPENED,
    TUNNELS_CLOSED,
    HANDSHAKE_FAILURES,
    REVOCATIONS,
    DIRECTORY_CONNECTED,
    DIRECTORY_RECONNECTS,
    DIRECTORY_ADDRESSES,
    ADMIN_BAD_REQUESTS,
)
