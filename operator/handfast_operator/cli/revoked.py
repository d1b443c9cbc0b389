"""What `handfast revoke` is about: an entry of the list, and what somebody names on the command line."""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from handfast_operator.cli.errors import USAGE, CliError
from handfast_operator.cli.evidence import Collected
from handfast_operator.cli.subject import ACCOUNT, ANY, POD, Subject, parse_subject
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import PODS
from handfast_operator.resources.durations import parse_duration
from handfast_operator.resources.parse_access import parse_time
from handfast_operator.resources.times import format_time
from handfast_sidecar.errors import BadSpiffeId
from handfast_sidecar.identity.revocation import serial_text
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.wellknown import CONTROLLER_ACCOUNT, DIRECTORY_ACCOUNT, WEBHOOK_ACCOUNT

LONGEST_LEAF: Final = timedelta(days=30)
"""After it a certificate that was there today has ended, whosever it is."""
SERIAL: Final = "serial/"
_SCHEME: Final = "spiffe://"
_OPERATOR: Final = (CONTROLLER_ACCOUNT, DIRECTORY_ACCOUNT, WEBHOOK_ACCOUNT)
_EDGES: Final = 10


@dataclass(frozen=True, slots=True)
class Entry:
    """One of `spec.revoked`."""

    identity: str = ""
    serial: str = ""
    reason: str = ""
    until: str = ""

    @property
    def what(self) -> str:
        return self.identity or f"the certificate {self.serial}"

    @property
    def argument(self) -> str:
        """As it is named on the command line."""
        return self.identity or f"{SERIAL}{self.serial}"

    def over(self, now: datetime) -> bool:
        """Whether it has ended by itself."""
        try:
            return bool(self.until) and parse_time(self.until) <= now
        except ValueError:
            return False

    def to_json(self) -> dict[str, str]:
        fields = {"identity": self.identity, "serial": self.serial, "reason": self.reason, "until": self.until}
        return {name: value for name, value in fields.items() if value}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> "Entry":
        serial = raw.get("serial") or ""
        with suppress(ValueError):  # it stays as it was written
            serial = serial_text(serial) if serial else ""
        return cls(raw.get("identity") or "", serial, raw.get("reason") or "", raw.get("until") or "")


@dataclass(frozen=True, slots=True)
class Named:
    """What is to be revoked: an identity, a serial number, or the certificate of a pod."""

    identity: str = ""
    serial: str = ""
    pod: Subject | None = None
    not_after: str = ""
    """When the certificate ends, where that is known."""


def name(text: str, namespace: str, trust_domain: str, operator_namespace: str) -> Named:
    """What somebody names. Raises CliError."""
    try:
        if text.startswith(_SCHEME):
            identity = SpiffeId.parse(text)
        elif text.startswith(SERIAL):
            return Named(serial=serial_text(text.removeprefix(SERIAL)))
        else:
            subject = parse_subject(text, namespace)
            if subject.kind == POD:
                return Named(pod=subject)
            if subject.kind != ACCOUNT:
                raise CliError(
                    f"{text!r} may be much: write serviceaccount/NAME, pod/NAME or serial/HEX"
                    if subject.kind == ANY
                    else f"{subject} has no identity of its own: name its service account",
                    USAGE,
                )
            identity = SpiffeId.of_service_account(trust_domain, subject.namespace, subject.name)
    except (BadSpiffeId, ValueError) as error:
        raise CliError(str(error), USAGE) from error
    own = [str(SpiffeId.of_service_account(trust_domain, operator_namespace, each)) for each in _OPERATOR]
    if str(identity) in own:
        raise CliError(
            f"{identity} is Handfast's own: without it nobody is told anything any more, not even that it is taken"
            " back. Revoke the certificate that is in the wrong hands: serial/HEX",
            USAGE,
        )
    return Named(str(identity))


async def find(named: Named, client: ApiClient, collected: Collected) -> Named:
    """The serial number of a pod's certificate, and when a certificate ends. Raises CliError, ApiError."""
    if named.identity:
        return named
    reports = collected.view.pods if collected.view is not None else {}
    if named.pod is None:
        ends = (each.not_after for each in reports.values() if each.serial == named.serial)
        return replace(named, not_after=next(ends, ""))
    try:
        raw = await client.get(PODS.item(named.pod.namespace, named.pod.name))
    except ApiError as error:
        if error.status == 404:
            raise CliError(f"there is no {named.pod}") from error
        raise
    report = reports.get(raw["metadata"]["uid"])
    if report is None:
        why = "; ".join(collected.problems) or "it has no sidecar, or its sidecar has not reported yet"
        raise CliError(f"which certificate {named.pod} has is not known: {why}. Give serial/HEX")
    return replace(named, serial=report.serial, not_after=report.not_after)


def until_of(given: str, now: datetime, found: Named) -> str:
    """When the entry ends by itself, RFC 3339; empty: never. Raises CliError."""
    if given:
        return format_time(_moment(given, now))
    if found.identity:
        return ""
    return found.not_after or format_time(now + LONGEST_LEAF)


def _moment(given: str, now: datetime) -> datetime:
    try:
        moment = now + parse_duration(given) if given[-1] in "hms" else parse_time(given)
    except (ValueError, OverflowError) as error:
        raise CliError(f"--until {given}: expected a time, such as 2026-11-30T12:00:00Z, or 24h", USAGE) from error
    if moment.astimezone(UTC) <= now:
        raise CliError(f"--until {given} is over already", USAGE)
    return moment


def ended_by(found: Named, collected: Collected) -> list[str]:
    """Sentences on what ends, as far as the directory's replicas know."""
    if not found.identity:
        return [f"What rests on the certificate {found.serial} ends; its pod gets another one, with a new key."]
    said = [
        f"Every connection of {found.identity} ends, and new ones are refused.",
        "It gets no certificate any more, so new pods of it do not start.",
    ]
    if collected.view is None:
        return [*said, f"What it has open is not known: {'; '.join(collected.problems)}"]
    edges = [
        each
        for each in collected.view.edges
        if each.open and each.encrypted and found.identity in (each.source.identity, each.destination.identity)
    ]
    said += [
        f"  {each.open} open: {each.source.namespace}/{each.source.name} to"
        f" {each.destination.namespace}/{each.destination.name}, port {each.port}"
        for each in edges[:_EDGES]
    ]
    if len(edges) > _EDGES:
        said.append(f"  and {len(edges) - _EDGES} more: handfast edges -A")
    return said
