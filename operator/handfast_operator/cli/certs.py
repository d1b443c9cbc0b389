"""`certs`: what expires when: authorities, the external issuer, the operator's own certificates, and every pod's leaf.

Who may not read Secrets is told all the same: what a sidecar runs with is known from its reports.
"""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from handfast_operator.authority.expiring import Life, Within, leaf_within
from handfast_operator.cli.authorities import (
    RETIRED,
    AuthorityRow,
    authorities_of,
    read_trust_domain,
    rotation_of,
)
from handfast_operator.cli.certificates import PodRow, reported_rows, row_to_json, rows
from handfast_operator.cli.errors import NO, UNKNOWN, YES, CliError
from handfast_operator.cli.evidence import Collected, collect
from handfast_operator.cli.output import ago, show, table, warn
from handfast_operator.cli.reader import Raw, Reader
from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import PODS, SECRETS_META
from handfast_operator.cluster.objects import SecretMeta, parse_pod, parse_secret_meta
from handfast_operator.resources.times import format_time, parse_time

NAME: Final = "certs"
HELP: Final = "what expires when: authorities, issuers, and the certificate of every pod"
VERSION: Final = 1
_AUTHORITIES: Final = ("AUTHORITY", "STATE", "SINCE", "UNTIL", "LEFT", "SOURCE", "PODS")
_SERVING: Final = ("SERVED BY", "UNTIL", "LEFT", "STATE")
_PODS: Final = ("POD", "SERIAL", "ISSUER", "NOT AFTER", "RENEWS", "LEFT", "STATE")
_WIDE: Final = ("ISSUED", "REPORTED", "SERIAL IN SECRET")
_NONE: Final = "-"
_SHORT: Final = 12
"""Digits of a serial number; `-o wide` has them all."""


@dataclass(frozen=True, slots=True)
class Served:
    """A certificate of the operator's own."""

    role: str
    life: Life
    within: Within | None


@dataclass(frozen=True, slots=True)
class Found:
    """All that is shown."""

    at: datetime
    trust_domain: Raw
    authorities: Sequence[AuthorityRow]
    served: Sequence[Served]
    pods: Sequence[PodRow]
    collected: Collected
    unread: Sequence[str]
    notes: Sequence[str]
    secrets: bool
    """Whether Secrets could be read."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Whose certificates."""
    parser.add_argument("pod", nargs="?", default="", metavar="[NAMESPACE/]POD", help="this one alone")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="pods of all namespaces")
    parser.add_argument("--expiring", action="store_true", help="only what is past its renewal, or not as it should be")


async def run(args: argparse.Namespace, client: ApiClient) -> int:
    """Exit code 0: all is well; 1: something is past a threshold; 3: it cannot be found out. Raises CliError."""
    reader = Reader(client)
    namespace, name = _named(args)
    found = await _find(reader, args.operator_namespace, namespace)
    if name and not any(each.pod == f"{namespace}/{name}" for each in found.pods):
        raise CliError(f"there is no pod {namespace}/{name} with a sidecar")
    chosen = [
        each
        for each in found.pods
        if (not name or each.pod == f"{namespace}/{name}") and (not args.expiring or each.due)
    ]
    show(args, document(found, chosen), lambda: _text(found, chosen, args, namespace))
    if args.output in ("table", "wide"):
        for problem in (*found.collected.problems, *found.unread):
            warn(f"incomplete: {problem}")
        for note in found.notes:
            warn(note)
    late = [each.within for each in found.authorities]
    late += [each.within for each in found.served]
    late += [each.within for each in found.pods if not name or each.pod == f"{namespace}/{name}"]
    if any(each is not None for each in late):
        return NO
    return UNKNOWN if found.unread or (found.collected.view is None and not found.secrets) else YES


def _named(args: argparse.Namespace) -> tuple[str, str]:
    """Namespace and name of the pod that is asked about; the namespace is empty for all."""
    if not args.pod:
        return ("" if args.all_namespaces else args.namespace), ""
    before, slash, after = args.pod.removeprefix("pod/").partition("/")
    return (before, after) if slash else (args.namespace, before)


async def _find(reader: Reader, operator: str, namespace: str) -> Found:
    nothing: list[Raw] = []
    unknown: Raw = {"metadata": {"name": None}}
    trust_domain, collected, pods, secrets = await asyncio.gather(
        reader.permitted(read_trust_domain(reader), unknown, "authorities are left out", matters=True),
        collect(reader.client, operator),
        reader.permitted(
            reader.many(PODS, namespace), nothing, "pods whose sidecar does not report are left out", matters=True
        ),
        _secrets(reader, namespace),
    )
    at = datetime.now(UTC)
    if collected.view is not None and collected.view.at:
        # The directory's clock: that of a laptop may be anything.
        at = datetime.fromtimestamp(collected.view.at, UTC)
    authorities = authorities_of(trust_domain, at)
    names = {each.key_id: each.name for each in authorities if each.key_id}
    reports = collected.view.pods if collected.view is not None else {}
    parsed = [parse_pod(each) for each in pods]
    if pods is not nothing:
        listed = rows(at, pods=parsed, reports=reports, secrets=secrets, issuers=names)
    else:
        mine = {uid: each for uid, each in reports.items() if not namespace or each.pod.startswith(f"{namespace}/")}
        listed = reported_rows(at, mine, names)
    return Found(
        at,
        trust_domain,
        authorities,
        _served(trust_domain, at),
        listed,
        collected,
        reader.unread,
        reader.notes,
        secrets is not None,
    )


async def _secrets(reader: Reader, namespace: str) -> dict[tuple[str, str], SecretMeta] | None:
    """What is told of Secrets without their data; None: that may not be read, which most people may not."""
    nothing: list[Raw] = [{}]
    found = await reader.permitted(
        reader.many(SECRETS_META, namespace),
        nothing,
        "whether a newer certificate waits to be loaded is not known",
        matters=False,
    )
    if found is nothing:
        return None
    parsed = [parse_secret_meta(each) for each in found]
    return {each.key: each for each in parsed}


def _served(trust_domain: Raw, now: datetime) -> list[Served]:
    listed: list[Served] = []
    for each in (trust_domain.get("status") or {}).get("serving") or ():
        life = Life(parse_time(each["notBefore"]), parse_time(each["notAfter"]))
        listed.append(Served(str(each["name"]), life, leaf_within(now, life, life.left(2))))
    return listed


# --- as data


def document(found: Found, chosen: Sequence[PodRow]) -> dict[str, Any]:
    """As `-o json` has it."""
    status: Mapping[str, Any] = found.trust_domain.get("status") or {}
    within = {each.name: each.within for each in found.authorities}
    return {
        "version": VERSION,
        "at": format_time(found.at),
        "trustDomain": found.trust_domain["metadata"]["name"],
        "authorities": [{**each, "within": within[each["name"]]} for each in status.get("authorities") or ()],
        "rotation": status.get("rotation"),
        "issuer": _issuer(found.trust_domain),
        "serving": [
            {"name": each.role, "notAfter": format_time(each.life.ends), "within": each.within} for each in found.served
        ],
        "pods": [row_to_json(each) for each in chosen],
        "replicas": {"asked": found.collected.asked, "problems": list(found.collected.problems)},
        "unread": list(found.unread),
        "notes": list(found.notes),
    }


def _issuer(trust_domain: Raw) -> dict[str, Any] | None:
    """The external one and what is thought of it; None: the operator makes its roots itself."""
    reference = ((trust_domain.get("spec") or {}).get("issuer") or {}).get("secretRef")
    if not reference:
        return None
    conditions = (trust_domain.get("status") or {}).get("conditions") or ()
    accepted: Mapping[str, Any] = next((each for each in conditions if each["type"] == "IssuerAccepted"), {})
    return {
        "secret": reference.get("name"),
        "accepted": accepted.get("status", "Unknown"),
        "message": accepted.get("message", ""),
    }


# --- as text


def _text(found: Found, chosen: Sequence[PodRow], args: argparse.Namespace, namespace: str) -> str:
    parts: list[str] = []
    authorities = [each for each in found.authorities if each.state != RETIRED or args.output == "wide"]
    if args.expiring:
        authorities = [each for each in authorities if each.within is not None]
    if authorities:
        parts.append(table(_AUTHORITIES, [_authority(each, found.at) for each in authorities]))
    served = [each for each in found.served if each.within is not None or not args.expiring]
    if served:
        parts.append(table(_SERVING, [_server(each, found.at) for each in served]))
    parts.append(_pods(chosen, found, args, namespace))
    head = _headline(found)
    return "\n\n".join([*([head] if head else []), *parts])


def _headline(found: Found) -> str:
    """What is to be known of the authorities beside their table."""
    rotation, issuer = rotation_of(found.trust_domain), _issuer(found.trust_domain)
    lines: list[str] = []
    if issuer is not None:
        words = {"True": "accepted", "False": "refused"}.get(str(issuer["accepted"]), "not judged yet")
        lines.append(f"External issuer, Secret {issuer['secret']}: {words}. {issuer['message']}".rstrip())
    if rotation.state != "Idle":
        lines.append(f"Rotation: {rotation.state}. {rotation.message}".rstrip())
    return "\n".join(lines)


def _authority(row: AuthorityRow, now: datetime) -> tuple[str, ...]:
    late = f" ({row.within})" if row.within is not None else ""
    return (
        row.name,
        row.state,
        _moment(row.since),
        _moment(row.ends),
        f"{_left(row.ends, now)}{late}",
        row.source or _NONE,
        str(row.pods) if row.pods is not None else _NONE,
    )


def _server(row: Served, now: datetime) -> tuple[str, ...]:
    return (
        row.role,
        _moment(row.life.ends),
        _left(row.life.ends, now),
        "ok" if row.within is None else _late(row.within),
    )


def _late(within: Within) -> str:
    return "expired" if within is Within.EXPIRED else f"not renewed, less than a {within} left"


def _pods(chosen: Sequence[PodRow], found: Found, args: argparse.Namespace, namespace: str) -> str:
    if not chosen:
        where = f"in the namespace {namespace}" if namespace else "in the cluster"
        if found.pods:
            return f"No certificate of the {len(found.pods)} pods with a sidecar {where} is past its renewal."
        return f"No pod with a sidecar {where}. Other namespaces: -n, or -A."
    wide = args.output == "wide"
    headers = (*_PODS[:-1], *_WIDE, _PODS[-1]) if wide else _PODS
    return table(headers, [_pod(each, found.at, wide=wide) for each in chosen])


def _pod(row: PodRow, now: datetime, *, wide: bool) -> tuple[str, ...]:
    leaf = row.leaf
    serial = leaf.serial if leaf is not None else ""
    cells = (
        row.pod,
        (serial if wide else serial[:_SHORT]) or _NONE,
        row.issuer or _NONE,
        _moment(leaf.ends if leaf is not None else None),
        _moment(leaf.renews if leaf is not None else None),
        _left(leaf.ends if leaf is not None else None, now),
    )
    if not wide:
        return (*cells, row.state)
    heard = f"{ago((now - row.heard).total_seconds())} ago" if row.heard is not None else _NONE
    issued = _moment(leaf.begins if leaf is not None else None)
    return (*cells, issued, heard, row.held.serial if row.held is not None else _NONE, row.state)


def _moment(moment: datetime | None) -> str:
    return format_time(moment) if moment is not None else _NONE


def _left(ends: datetime | None, now: datetime) -> str:
    if ends is None:
        return _NONE
    return ago((ends - now).total_seconds()) if ends > now else "0s"
