"""What expires when, per pod: from what its sidecar reported and, where that may be read, what its Secret says. Pure.

Its one rule: a leaf counts as it is used. What a sidecar runs with is judged; a newer one in its Secret only explains.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from handfast_operator.authority.expiring import PROJECTION, Life, Within, leaf_within
from handfast_operator.authority.schedule import BACKDATE, renew_at
from handfast_operator.cli.output import ago
from handfast_operator.cluster.objects import Pod, SecretMeta
from handfast_operator.controller.issuance import (
    ANNOTATION_ISSUED_AT,
    ANNOTATION_NOT_AFTER,
    ANNOTATION_RENEW_AT,
    ANNOTATION_SERIAL,
)
from handfast_operator.evidence.view import PodReport
from handfast_operator.resources.times import format_time, parse_time

SILENT: Final = timedelta(seconds=60)
"""Sidecars report every ten seconds."""
OK: Final = "ok"


@dataclass(frozen=True, slots=True)
class LeafFacts:
    """A leaf, as far as is known."""

    serial: str
    ends: datetime
    begins: datetime | None = None
    """When it was issued."""
    renews: datetime | None = None


@dataclass(frozen=True, slots=True)
class PodRow:
    """One pod and its leaf."""

    pod: str
    """namespace/name."""
    uid: str
    loaded: LeafFacts | None
    """What its sidecar runs with; None: nothing was heard of it."""
    held: LeafFacts | None
    """What its Secret says; None: that is not known."""
    issuer: str = ""
    """Name of the authority that signed what it runs with."""
    heard: datetime | None = None
    within: Within | None = None
    state: str = OK
    """A few words: what is wrong."""

    @property
    def leaf(self) -> LeafFacts | None:
        """The one that counts."""
        return self.loaded or self.held

    @property
    def due(self) -> bool:
        """Whether what is not `ok` concerns its renewal."""
        return self.within is not None or self.state != OK


def rows(
    now: datetime,
    *,
    pods: Iterable[Pod],
    reports: Mapping[str, PodReport],
    secrets: Mapping[tuple[str, str], SecretMeta] | None,
    issuers: Mapping[str, str],
) -> list[PodRow]:
    """The meshed pods, problems first; `secrets` None: they may not be read. `issuers`: names by key identifier."""
    found = [
        _row(now, pod, reports.get(pod.uid), _held(pod, secrets), issuers, secrets_known=secrets is not None)
        for pod in pods
        if pod.meshed and not pod.terminal
    ]
    return sorted(found, key=_urgency)


def reported_rows(now: datetime, reports: Mapping[str, PodReport], issuers: Mapping[str, str]) -> list[PodRow]:
    """The same where pods may not be listed: those alone that report."""
    found = [_judged(now, each.pod, uid, each, None, issuers) for uid, each in reports.items()]
    return sorted(found, key=_urgency)


def _row(
    now: datetime,
    pod: Pod,
    report: PodReport | None,
    held: LeafFacts | None,
    issuers: Mapping[str, str],
    *,
    secrets_known: bool,
) -> PodRow:
    name = f"{pod.namespace}/{pod.name}"
    if report is None and held is None:
        state = "no Secret yet" if secrets_known else "no report yet" if pod.proxy_running else "not running yet"
        return PodRow(name, pod.uid, None, None, state=state)
    return _judged(now, name, pod.uid, report, held, issuers)


def _judged(
    now: datetime,
    name: str,
    uid: str,
    report: PodReport | None,
    held: LeafFacts | None,
    issuers: Mapping[str, str],
) -> PodRow:
    loaded = _loaded(report, uid) if report is not None else None
    heard = datetime.fromtimestamp(report.at, UTC) if report is not None else None
    issuer = issuers.get(report.issuers[0], "") if report is not None and report.issuers else ""
    leaf = loaded or held
    within = _within(now, leaf) if leaf is not None else None
    return PodRow(name, uid, loaded, held, issuer, heard, within, _state(now, loaded, held, heard, within))


def _state(
    now: datetime, loaded: LeafFacts | None, held: LeafFacts | None, heard: datetime | None, within: Within | None
) -> str:
    leaf = loaded or held
    said: list[str] = []
    if within is Within.EXPIRED:
        said.append("expired")
    elif within is not None:
        said.append(f"not renewed, less than a {within} left")
    elif leaf is not None and leaf.renews is not None and now >= leaf.renews:
        said.append("renewal is due")
    if loaded is not None and held is not None and loaded.serial != held.serial and held.begins is not None:
        waited = now - held.begins
        whose = "kubelet has not projected the new one yet" if waited < PROJECTION else "the new one is not loaded"
        said.append(f"{whose}, for {ago(waited.total_seconds())}")
    if heard is None:
        said.append("no report yet")
    elif now - heard > SILENT:
        said.append(f"silent for {ago((now - heard).total_seconds())}")
    return "; ".join(said) or OK


def _within(now: datetime, leaf: LeafFacts) -> Within | None:
    if leaf.begins is None or leaf.renews is None:
        return Within.EXPIRED if now >= leaf.ends else None
    return leaf_within(now, Life(leaf.begins, leaf.ends), leaf.renews)


def _loaded(report: PodReport, uid: str) -> LeafFacts | None:
    try:
        ends = parse_time(report.not_after)
        begins = parse_time(report.not_before) + BACKDATE if report.not_before else None
    except ValueError:
        return None
    return LeafFacts(report.serial, ends, begins, renew_at(begins, ends, uid) if begins is not None else None)


def _held(pod: Pod, secrets: Mapping[tuple[str, str], SecretMeta] | None) -> LeafFacts | None:
    meta = (secrets or {}).get((pod.namespace, pod.secret))
    if meta is None or pod.uid not in meta.owner_uids:
        return None
    said = meta.annotations
    try:
        begins = parse_time(said[ANNOTATION_ISSUED_AT]) if ANNOTATION_ISSUED_AT in said else None
        ends, renews = parse_time(said[ANNOTATION_NOT_AFTER]), parse_time(said[ANNOTATION_RENEW_AT])
        return LeafFacts(said[ANNOTATION_SERIAL], ends, begins, renews)
    except (KeyError, ValueError):
        return None


_ORDER: Final = {Within.EXPIRED: 0, Within.SIXTH: 1, Within.THIRD: 2}


def _urgency(row: PodRow) -> tuple[int, bool, str]:
    return (_ORDER.get(row.within, 3) if row.within is not None else 3, row.state == OK, row.pod)


def row_to_json(row: PodRow) -> dict[str, Any]:
    """As `-o json` has it; what is not known is null."""
    return {
        "pod": row.pod,
        "uid": row.uid,
        "issuer": row.issuer or None,
        "within": row.within,
        "state": row.state,
        "reportedAt": format_time(row.heard) if row.heard is not None else None,
        "loaded": _leaf_to_json(row.loaded),
        "secret": _leaf_to_json(row.held),
    }


def _leaf_to_json(leaf: LeafFacts | None) -> dict[str, Any] | None:
    if leaf is None:
        return None
    return {
        "serial": leaf.serial,
        "issuedAt": format_time(leaf.begins) if leaf.begins is not None else None,
        "notAfter": format_time(leaf.ends),
        "renewsAt": format_time(leaf.renews) if leaf.renews is not None else None,
    }
