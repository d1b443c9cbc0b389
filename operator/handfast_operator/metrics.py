"""Every metric of the operator's roles. docs/metrics.md is written from these tables: `make metrics-page`.

Those that a sidecar has too are declared with the sidecar's: one name means one thing wherever it is served.
"""

from typing import Final

from handfast_operator.authority.expiring import Within
from handfast_operator.authority.state import AuthorityState
from handfast_sidecar.observe import table as sidecar
from handfast_sidecar.observe.declared import CounterMetric, Declared, GaugeMetric, HistogramMetric, Label

_OUTCOMES: Final = ("injected", "skipped", "refused", "allowed", "bad_request", "busy", "error")
_OF_A_SESSION: Final = (
    "replaced",
    "shutting_down",
    "stale",
    "pod_gone",
    "slow_reader",
    "silent",
    "closed",
    "line_too_long",
    "no_hello",
    "expired",
    "bad_message",
    "protocol",
    "too_many_watches",
    "bad_address",
    "root_retired",
    "revoked",
)
_PEERS: Final = "certificates.md#why-a-peers-certificate-is-refused"

WATCH_SILENCE: Final = GaugeMetric(
    "handfast_watch_silence_seconds",
    "Seconds since the API server last confirmed what is known.",
    (Label("kind", (), "what is watched, such as `pods`"),),
    "About 60 while nothing changes; over 150 it is stuck.",
)

LEADING: Final = GaugeMetric("handfast_controller_leading", "1 while this controller holds the Lease.")
PODS: Final = GaugeMetric(
    "handfast_pods",
    "Pods that opted in, by how their sidecars do; counted by the controller that leads.",
    (Label("state", ("reporting", "silent", "starting", "without_sidecar")),),
    "`silent`: it runs, and no directory heard of it for a minute. `without_sidecar`: it should have one.",
)
OLD_SIDECARS: Final = GaugeMetric(
    "handfast_old_sidecars", "Pods whose sidecar is of another image than new pods get; counted by the one that leads."
)
AUTHORITY_PODS: Final = GaugeMetric(
    "handfast_authority_pods",
    "Sidecars that need an authority.",
    (
        Label("state", tuple(AuthorityState)),
        Label("root", (), "the authority's name: there are two while one is replaced"),
    ),
)
AUTHORITY_ENDS: Final = GaugeMetric(
    "handfast_authority_expiration_timestamp_seconds",
    "When an authority ends; 0 of the root none: nobody signs.",
    (
        Label("root", (), "the authority's name"),
        Label("state", tuple(AuthorityState)),
        Label("source", ("selfSigned", "secretRef", "")),
    ),
    "Of each that is trusted, or will be.",
)
SERVING_ENDS: Final = GaugeMetric(
    "handfast_serving_certificate_expiration_timestamp_seconds",
    "When the operator's own certificates end.",
    (Label("role", ("webhook", "directory")),),
)
EXPIRING: Final = GaugeMetric(
    "handfast_certificates_expiring",
    "Certificates that should have been replaced, by how little of their life is left.",
    (Label("of", ("leaf", "authority", "issuer", "serving")), Label("within", tuple(Within))),
    "[What should have been replaced when](certificates.md#expiry).",
)
STRAGGLERS: Final = GaugeMetric(
    "handfast_rotation_stragglers",
    "Whom the root rotation waits for.",
    note="[When somebody is late](certificates.md#when-somebody-is-late).",
)
ROTATION_SINCE: Final = GaugeMetric(
    "handfast_rotation_step_timestamp_seconds",
    "When the rotation under way entered its state, in Unix time; 0: there is none.",
)
ROTATIONS: Final = CounterMetric(
    "handfast_rotations_total",
    "Root rotations that ended.",
    (Label("outcome", ("finished", "forced", "clock", "taken_back")),),
)
ISSUER_REFUSED: Final = GaugeMetric(
    "handfast_issuer_refused",
    "1 while the Secret of spec.issuer.secretRef cannot be used.",
    (Label("reason", (), "[when it is refused](certificates.md#when-it-is-refused)"),),
)
LEAVES: Final = CounterMetric(
    "handfast_leaves_issued_total",
    "Leaves issued to pods.",
    (
        Label(
            "reason",
            (
                "new",
                "renewal",
                "shorter_ttl",
                "draining",
                "issuer_not_trusted",
                "expired",
                "revoked",
                "damaged",
            ),
        ),
    ),
)
REWRITTEN: Final = CounterMetric(
    "handfast_identity_secrets_rewritten_total",
    "Secrets rewritten with the leaf they had.",
    (Label("reason", ("bundle", "config", "unreadable_annotations", "foreign_writer")),),
)
LEAF_FAILURES: Final = CounterMetric(
    "handfast_leaf_issue_failures_total",
    "Pods whose Secret could not be brought in order.",
    (
        Label(
            "reason",
            (),
            "`identity_revoked`, `foreign_secret`, `mirror_pod`, `unstable`, or the API server's, such as `Forbidden`",
        ),
    ),
)
LEAF_SECONDS: Final = HistogramMetric(
    "handfast_leaf_issue_seconds",
    "Seconds from the change that asked for a leaf to its written Secret.",
    bounds=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
QUEUE: Final = GaugeMetric("handfast_leaf_queue_length", "Pods that wait to be looked at.")
EVIDENCE_REPLICAS: Final = GaugeMetric(
    "handfast_evidence_replicas",
    "Replicas of the directory, by whether we hear their evidence.",
    (Label("state", ("connected", "away")),),
)
EVIDENCE_EDGES: Final = GaugeMetric("handfast_evidence_edges", "Edges between workloads that are known.")
EVIDENCE_LOST: Final = CounterMetric(
    "handfast_evidence_lost_total",
    "Connections to replicas that ended or never began, by reason.",
    (Label("reason", (), "`renewed` is planned; `timeout`, `refused`, `closed`, `silent` and others are not"),),
)

REVIEWS: Final = CounterMetric(
    "handfast_admission_reviews_total",
    "Reviews, by path and outcome.",
    (Label("path", ("inject", "validate")), Label("outcome", _OUTCOMES)),
    "`refused` is a pod's own fault; `error`, `busy` and `bad_request` are not.",
)
REVIEW_SECONDS: Final = HistogramMetric(
    "handfast_admission_review_seconds",
    "Seconds from a review's head to its answer.",
    (Label("path", ("inject", "validate")),),
    bounds=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
WEBHOOK_CERTIFICATE: Final = CounterMetric(
    "handfast_webhook_certificate_failures_total", "Serving certificates that could not be loaded."
)
WEBHOOK_CERTIFICATE_REFUSED: Final = GaugeMetric(
    "handfast_webhook_certificate_refused",
    "1 while the newest version of the serving certificate cannot be loaded, so that an older one is served.",
)

SESSIONS: Final = GaugeMetric("handfast_directory_sessions", "Sidecars that are connected.")
SESSIONS_ENDED: Final = CounterMetric(
    "handfast_directory_sessions_ended_total", "Sessions that ended, by reason.", (Label("reason", _OF_A_SESSION),)
)
REFUSED: Final = CounterMetric(
    "handfast_directory_refused_total",
    "Connections that did not become a session, by reason.",
    (
        Label(
            "reason",
            (),
            f"`no_certificate`, `untrusted`, `wrong_alpn`, `unknown_pod`, `no_pod_uid`, `wrong_identity`, "
            f"`not_the_controller`, `stale`, `too_many_handshakes`, [those of a certificate]({_PEERS})",
        ),
    ),
)
PUSHES: Final = CounterMetric("handfast_directory_pushes_total", "Lines told because something changed.")
WATCHED: Final = GaugeMetric("handfast_directory_watched_addresses", "Addresses with a watcher.")
REPORTING: Final = GaugeMetric("handfast_directory_reporting_pods", "Pods with a report.")
REPORTED: Final = GaugeMetric(
    "handfast_directory_reported_connections",
    "Connections that sidecars reported to this replica.",
    (sidecar.DIRECTION, sidecar.ENCRYPTED),
)
EDGES: Final = GaugeMetric("handfast_directory_edges", "Edges between workloads that are known.")
FEEDS: Final = GaugeMetric("handfast_directory_evidence_feeds", "Controllers that follow the evidence.")

CONTROLLER: Final[tuple[Declared, ...]] = (
    *sidecar.PROCESS,
    WATCH_SILENCE,
    LEADING,
    PODS,
    OLD_SIDECARS,
    LEAVES,
    LEAF_FAILURES,
    LEAF_SECONDS,
    QUEUE,
    REWRITTEN,
    EXPIRING,
    AUTHORITY_ENDS,
    SERVING_ENDS,
    AUTHORITY_PODS,
    STRAGGLERS,
    ROTATION_SINCE,
    ROTATIONS,
    ISSUER_REFUSED,
    sidecar.REVOCATIONS,
    EVIDENCE_REPLICAS,
    EVIDENCE_EDGES,
    EVIDENCE_LOST,
)
WEBHOOK: Final[tuple[Declared, ...]] = (
    *sidecar.PROCESS,
    WATCH_SILENCE,
    REVIEWS,
    REVIEW_SECONDS,
    WEBHOOK_CERTIFICATE,
    WEBHOOK_CERTIFICATE_REFUSED,
)
DIRECTORY: Final[tuple[Declared, ...]] = (
    *sidecar.PROCESS,
    WATCH_SILENCE,
    SESSIONS,
    SESSIONS_ENDED,
    REFUSED,
    PUSHES,
    WATCHED,
    REPORTING,
    REPORTED,
    EDGES,
    FEEDS,
    sidecar.LEAF_ENDS,
    sidecar.IDENTITY_FAILURES,
    sidecar.IDENTITY_REFUSED,
    sidecar.REVOCATIONS,
)
PROGRAMS: Final = {
    "controller": CONTROLLER,
    "webhook": WEBHOOK,
    "directory": DIRECTORY,
    "sidecar": sidecar.SIDECAR,
}
