"""Every alert fires on its bad day and on no other, and none does while all is well: Prometheus's own tool says so."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from handfast_operator.metrics import PROGRAMS
from support.promql import asked

ROOT = Path(__file__).parent.parent.parent
ALERTS = ROOT / "charts" / "handfast" / "files" / "alerts.yaml"
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
}
MINUTES = 120
FAR = 10**9
"""A time that is far away: of a test's clock, which begins at 0."""
Series = dict[str, float | str]
"""A value that stays, or Prometheus's own notation of one that does not, by name and labels."""

WELL: Series = {
    'handfast_build_info{component="controller",version="1",pod="c"}': 1,
    'handfast_build_info{component="webhook",version="1",pod="w"}': 1,
    'handfast_build_info{component="directory",version="1",pod="d"}': 1,
    'handfast_build_info{component="sidecar",version="0",namespace="shop",pod="p"}': 1,
    'handfast_controller_leading{pod="c"}': 1,
    'handfast_controller_leading{pod="standby"}': 0,
    'handfast_certificates_expiring{of="leaf",within="third"}': 0,
    'handfast_certificates_expiring{of="leaf",within="expired"}': 0,
    'handfast_certificates_expiring{of="authority",within="third"}': 0,
    'handfast_certificates_expiring{of="authority",within="sixth"}': 0,
    'handfast_certificates_expiring{of="serving",within="third"}': 0,
    'handfast_certificate_expiration_timestamp_seconds{namespace="shop",pod="p"}': FAR,
    'handfast_authority_expiration_timestamp_seconds{root="a-1",state="Active"}': FAR,
    'handfast_authority_expiration_timestamp_seconds{root="a-0",state="Draining"}': 60,
    'handfast_leaf_issue_failures_total{reason="identity_revoked"}': "0+1x120",
    "handfast_leaf_queue_length": 20,
    'handfast_identity_refused{namespace="shop",pod="p"}': 0,
    'handfast_webhook_certificate_refused{namespace="handfast-system",pod="w"}': 0,
    "handfast_rotation_stragglers": 0,
    "handfast_rotation_step_timestamp_seconds": 0,
    'handfast_admission_reviews_total{path="inject",outcome="injected"}': "0+5x120",
    'handfast_admission_reviews_total{path="inject",outcome="refused"}': "0+1x120",
    'handfast_admission_reviews_total{path="inject",outcome="error"}': 0,
    'handfast_admission_review_seconds_bucket{path="inject",le="0.5"}': "0+5x120",
    'handfast_admission_review_seconds_bucket{path="inject",le="1"}': "0+5x120",
    'handfast_admission_review_seconds_bucket{path="inject",le="10"}': "0+5x120",
    'handfast_admission_review_seconds_bucket{path="inject",le="+Inf"}': "0+5x120",
    'handfast_watch_silence_seconds{namespace="handfast-system",pod="d",kind="pods"}': 60,
    'handfast_directory_sessions{pod="d"}': 100,
    'handfast_directory_sessions_ended_total{pod="d",reason="expired"}': "0+10x120",
    'handfast_directory_sessions_ended_total{pod="d",reason="silent"}': 0,
    'handfast_directory_refused_total{pod="d",reason="untrusted"}': 0,
    'handfast_evidence_replicas{state="away"}': 0,
    'handfast_pods{state="reporting"}': 100,
    'handfast_pods{state="silent"}': 0,
    'handfast_pods{state="without_sidecar"}': 0,
    'handfast_directory_connected{namespace="shop",pod="p"}': 1,
    'handfast_denied_total{namespace="shop",direction="in",reason="denied"}': "0+1x120",
    'handfast_handshake_failures_total{namespace="shop",side="client",reason="closed"}': "0+1x120",
}
GONE = "gone"
FIRING = 'count by (alertname) (ALERTS{alertstate="firing"})'

BAD_DAYS: list[tuple[set[str], Series]] = [
    (
        {"HandfastLeafExpired", "HandfastLeafExpiring"},
        {'handfast_certificates_expiring{of="leaf",within="expired"}': 3},
    ),
    ({"HandfastLeafExpiring"}, {'handfast_certificates_expiring{of="leaf",within="third"}': 1}),
    (
        {"HandfastSidecarLeafExpired"},
        {'handfast_certificate_expiration_timestamp_seconds{namespace="shop",pod="p"}': 3600},
    ),
    ({"HandfastLeafRenewalFailing"}, {'handfast_leaf_issue_failures_total{reason="Forbidden"}': "0+1x120"}),
    ({"HandfastIssuerBehind"}, {"handfast_leaf_queue_length": 500}),
    ({"HandfastRootExpiring"}, {'handfast_certificates_expiring{of="authority",within="third"}': 1}),
    ({"HandfastRootExpiring"}, {'handfast_certificates_expiring{of="issuer",within="third"}': 1}),
    (
        {"HandfastRootExpiring", "HandfastRootExpiringSoon"},
        {'handfast_certificates_expiring{of="issuer",within="sixth"}': 1},
    ),
    (
        {"HandfastNobodySigns"},
        {'handfast_authority_expiration_timestamp_seconds{root="a-1",state="Active"}': 3600},
    ),
    (
        {"HandfastNobodySigns"},
        {
            'handfast_authority_expiration_timestamp_seconds{root="a-1",state="Active"}': GONE,
            'handfast_authority_expiration_timestamp_seconds{root="none",state="Active",source=""}': 0,
        },
    ),
    ({"HandfastIssuerRefused"}, {'handfast_issuer_refused{reason="wrong_key"}': 1}),
    ({"HandfastServingCertificateExpiring"}, {'handfast_certificates_expiring{of="serving",within="third"}': 1}),
    ({"HandfastIdentityRefused"}, {'handfast_identity_refused{namespace="shop",pod="p"}': 1}),
    (
        {"HandfastIdentityRefused"},
        {'handfast_webhook_certificate_refused{namespace="handfast-system",pod="w"}': 1},
    ),
    (
        {"HandfastRotationStuck"},
        {"handfast_rotation_stragglers": 2, "handfast_rotation_step_timestamp_seconds": 600},
    ),
    ({"HandfastNoLeader"}, {'handfast_controller_leading{pod="c"}': 0}),
    (
        {"HandfastNoLeader"},
        {'handfast_controller_leading{pod="c"}': GONE, 'handfast_controller_leading{pod="standby"}': GONE},
    ),
    ({"HandfastTwoLeaders"}, {'handfast_controller_leading{pod="standby"}': 1}),
    ({"HandfastWebhookDown"}, {'handfast_build_info{component="webhook",version="1",pod="w"}': GONE}),
    ({"HandfastWebhookErrors"}, {'handfast_admission_reviews_total{path="inject",outcome="error"}': "0+1x120"}),
    ({"HandfastWebhookErrors"}, {'handfast_admission_reviews_total{path="inject",outcome="busy"}': "0+1x120"}),
    (
        {"HandfastWebhookSlow"},
        {
            'handfast_admission_review_seconds_bucket{path="inject",le="0.5"}': "0+4x120",
            'handfast_admission_review_seconds_bucket{path="inject",le="1"}': "0+4x120",
        },
    ),
    ({"HandfastDirectoryDown"}, {'handfast_build_info{component="directory",version="1",pod="d"}': GONE}),
    (
        {"HandfastWatchStale"},
        {'handfast_watch_silence_seconds{namespace="handfast-system",pod="d",kind="pods"}': 200},
    ),
    (
        {"HandfastDirectoryStreamsDropping"},
        {'handfast_directory_sessions_ended_total{pod="d",reason="silent"}': "0+1x120"},
    ),
    ({"HandfastDirectoryRefusing"}, {'handfast_directory_refused_total{pod="d",reason="untrusted"}': "0+2x120"}),
    ({"HandfastEvidenceAway"}, {'handfast_evidence_replicas{state="away"}': 1}),
    ({"HandfastVersionsMixed"}, {'handfast_build_info{component="webhook",version="2",pod="w2"}': 1}),
    ({"HandfastSidecarsSilent"}, {'handfast_pods{state="silent"}': 1}),
    ({"HandfastSidecarsDisconnected"}, {'handfast_directory_connected{namespace="shop",pod="p"}': 0}),
    ({"HandfastPodsWithoutSidecar"}, {'handfast_pods{state="without_sidecar"}': 1}),
    (
        {"HandfastPlaintextRefused"},
        {'handfast_denied_total{namespace="web",direction="in",reason="plaintext_refused"}': "0+1x120"},
    ),
    (
        {"HandfastDeniedSpike"},
        {'handfast_denied_total{namespace="shop",direction="in",reason="denied"}': "0+1x109 200+100x11"},
    ),
    (
        {"HandfastDeniedSpike"},
        {'handfast_denied_total{namespace="web",direction="in",reason="denied"}': "_x109 0+100x11"},
    ),
    (
        {"HandfastHandshakesFailing"},
        {'handfast_handshake_failures_total{namespace="shop",side="client",reason="untrusted"}': "0+10x120"},
    ),
]
NEAR_MISSES: list[Series] = [
    {},
    {'handfast_certificates_expiring{of="leaf",within="third"}': "0x115 1x5"},
    {'handfast_leaf_issue_failures_total{reason="Timeout"}': "0x60 2x60"},
    {"handfast_leaf_queue_length": "0x115 10000x5"},
    {"handfast_rotation_stragglers": 5, "handfast_rotation_step_timestamp_seconds": 6000},
    {"handfast_rotation_step_timestamp_seconds": 600},
    # The Lease changes hands.
    {'handfast_controller_leading{pod="c"}': "1x60 0x60", 'handfast_controller_leading{pod="standby"}': "0x60 1x60"},
    {'handfast_admission_reviews_total{path="inject",outcome="refused"}': "0+50x120"},
    {
        'handfast_watch_silence_seconds{namespace="handfast-system",pod="d",kind="pods"}': 120,
    },
    {'handfast_directory_sessions_ended_total{pod="d",reason="shutting_down"}': "0x115 500x5"},
    {'handfast_directory_refused_total{pod="d",reason="unknown_pod"}': "0x60 5x60"},
    {'handfast_build_info{component="webhook",version="2",pod="w2"}': "_x100 1x20"},
    {'handfast_build_info{component="sidecar",version="2",namespace="web",pod="q"}': 1},
    {'handfast_pods{state="silent"}': "0x115 7x5"},
    {'handfast_pods{state="starting"}': 50},
    {'handfast_denied_total{namespace="shop",direction="out",reason="plaintext_refused"}': "0+1x120"},
    # As many as always.
    {'handfast_denied_total{namespace="shop",direction="in",reason="denied"}': "0+100x120"},
    {'handfast_handshake_failures_total{namespace="shop",side="client",reason="closed"}': "0+2x120"},
]


def day(name: str, series: Series, expected: set[str]) -> dict[str, Any]:
    """Two hours of these series beside those of a cluster that is well, and which alerts fire at their end."""
    given = [
        {"series": each, "values": value if isinstance(value, str) else f"{value}x{MINUTES}"}
        for each, value in (WELL | series).items()
        if value != GONE
    ]
    samples = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(expected)]
    ask = {"expr": FIRING, "eval_time": f"{MINUTES}m", "exp_samples": samples}
    return {"name": name, "interval": "1m", "input_series": given, "promql_expr_test": [ask]}


def failures(days: list[dict[str, Any]], tmp_path: Path) -> str:
    """What Prometheus says of days that did not end as they should; empty: all did."""
    file = tmp_path / "test.yaml"
    rules = {"rule_files": [str(ALERTS)], "evaluation_interval": "5m", "tests": days}
    file.write_text(yaml.safe_dump(rules, width=10_000))
    done = subprocess.run([promtool(), "test", "rules", file], capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def promtool() -> str:
    """Prometheus's tool, of the Debian package of TEST_PACKAGES."""
    found = shutil.which("promtool")
    assert found is not None, "promtool is missing: apt-get install prometheus"
    return found


def test_on_a_bad_day_its_alerts_fire_and_no_others(tmp_path: Path) -> None:
    days = [day(" ".join(sorted(series)), series, expected) for expected, series in BAD_DAYS]
    assert failures(days, tmp_path) == ""


def test_nothing_fires_while_all_is_well_or_nearly_so(tmp_path: Path) -> None:
    days = [day(" ".join(sorted(series)) or "all is well", series, set()) for series in NEAR_MISSES]
    assert failures(days, tmp_path) == ""


def test_a_day_that_ends_otherwise_is_a_failure(tmp_path: Path) -> None:
    queue: Series = {"handfast_leaf_queue_length": 500}
    assert 'got: {alertname="HandfastIssuerBehind"}' in failures([day("queue", queue, set())], tmp_path)
    assert "got: nil" in failures([day("all is well", {}, {"HandfastIssuerBehind"})], tmp_path)


def test_every_alert_has_its_bad_day_here() -> None:
    assert set().union(*(expected for expected, _ in BAD_DAYS)) == set(RULES)


def test_prometheus_reads_the_rules() -> None:
    subprocess.run([promtool(), "check", "rules", "--lint-fatal", ALERTS], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_how_grave_it_is_what_happened_and_where_the_remedy_stands(name: str) -> None:
    rule = RULES[name]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["for"]
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/alerts.md#{name.lower()}"
    section = (ROOT / "docs" / "alerts.md").read_text().split(f"\n## {name}\n")[1].split("\n## ")[0]
    assert f"**Symptom** ({rule['labels']['severity']})" in section
    assert "**Remedy**" in section
    assert "\n    " in section  # a command to look with


def test_the_page_of_alerts_has_no_other_sections() -> None:
    assert re.findall(r"^## (\w+)$", (ROOT / "docs" / "alerts.md").read_text(), re.MULTILINE) == list(RULES)


@pytest.mark.parametrize("name", RULES)
def test_an_alert_asks_for_metrics_and_labels_that_there_are(name: str) -> None:
    found = asked(RULES[name]["expr"])
    declared = {metric.name: metric for program in PROGRAMS.values() for metric in program}
    for metric in found.metrics:
        assert metric.removesuffix("_bucket") in declared
    for metric, label, text in found.matchers:
        values = next(each.values for each in declared[metric].labels if each.name == label)
        assert not values or set(text.split("|")) <= set(values)
    ours = {label.name for metric in found.metrics for label in declared[metric.removesuffix("_bucket")].labels}
    assert found.groupings <= ours | {"namespace", "pod", "le"}
