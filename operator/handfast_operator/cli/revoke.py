"""`handfast revoke`: trust an identity or a certificate no more, at once and everywhere; and take it back.

It edits `spec.revoked` of the TrustDomain. The one rule: it writes over exactly what it has read, so that of two people
who revoke at the same time neither undoes what the other did.
"""

import argparse
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from handfast_operator.cli.answering import MANAGER, confirm, who_answers
from handfast_operator.cli.errors import NO, USAGE, YES, CliError
from handfast_operator.cli.evidence import collect
from handfast_operator.cli.output import show, table, warn
from handfast_operator.cli.reader import Reader
from handfast_operator.cli.revoked import Entry, Named, ended_by, find, name, until_of
from handfast_operator.cluster.client import JSON_PATCH, ApiClient, ApiError
from handfast_operator.cluster.kinds import TRUST_DOMAINS
from handfast_operator.resources.revocation import MAX_REVOKED

NAME: Final = "revoke"
HELP: Final = "trust an identity or a certificate no more: what it has open ends within a second, nothing new begins"
TRIES: Final = 8
"""Writes over a TrustDomain that somebody else changes at the same time; the controller writes its status."""
_NONE: Final = "-"

Json = dict[str, Any]
Change = Callable[[list[Entry]], list[Entry]]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own."""
    parser.add_argument(
        "subject",
        nargs="?",
        default="",
        metavar="WHAT",
        help="spiffe://..., [NAMESPACE/]serviceaccount/NAME, [NAMESPACE/]pod/NAME (its certificate), or serial/HEX",
    )
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; it stands in the log of whoever refuses")
    parser.add_argument(
        "--until",
        default="",
        metavar="TIME",
        help="RFC 3339, or a duration such as 24h; default: for good, or the end of the certificate",
    )
    parser.add_argument("--list", action="store_true", help="show who is revoked")
    parser.add_argument("--undo", action="store_true", help="take it back")
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask whether it is meant")


async def run(args: argparse.Namespace, client: ApiClient) -> int:
    """Change the list, or show it; the exit code. Raises CliError, ApiError."""
    if args.list:
        return await _list(args, client)
    if not args.subject:
        raise CliError("say whom to revoke, or --list", USAGE)
    if not (args.reason or args.undo):
        raise CliError("--reason is missing: who is refused, and who takes it back, will want to know why", USAGE)
    trust_domain = await Reader(client).trust_domain()
    named = name(args.subject, args.namespace, trust_domain, args.operator_namespace)
    return await (_undo if args.undo else _revoke)(args, client, trust_domain, named)


async def _revoke(args: argparse.Namespace, client: ApiClient, trust_domain: str, named: Named) -> int:
    now = (await who_answers(client)).now
    collected = await collect(client, args.operator_namespace)
    found = await find(named, client, collected)
    until = until_of(args.until, now, found)
    entry = Entry(found.identity, found.serial, args.reason, until)
    if args.output in ("table", "wide"):
        for line in ended_by(found, collected):
            warn(line)
    confirm(args, f"Revoke {entry.what}?")

    def change(entries: list[Entry]) -> list[Entry]:
        kept = [each for each in entries if each.what != entry.what and not each.over(now)]
        if len(kept) >= MAX_REVOKED:
            raise CliError(
                f"{MAX_REVOKED} entries are in the list already: take back what is not needed (handfast revoke --list)",
                NO,
            )
        return [*kept, entry]

    await _write(client, trust_domain, change)
    end = f" until {until}" if until else ""
    show(
        args,
        entry.to_json(),
        lambda: f"{entry.what} is revoked{end}; to take it back: handfast revoke --undo {entry.argument}",
    )
    return YES


async def _undo(args: argparse.Namespace, client: ApiClient, trust_domain: str, named: Named) -> int:
    found = named
    if named.pod is not None:
        raise CliError(
            "a pod's certificate is another one when it was revoked: give the serial number that"
            " handfast revoke --list shows",
            USAGE,
        )
    what = Entry(found.identity, found.serial).what

    def change(entries: list[Entry]) -> list[Entry]:
        kept = [each for each in entries if each.what != what]
        if len(kept) == len(entries):
            raise CliError(f"{what} is not revoked: handfast revoke --list shows who is", NO)
        return kept

    confirm(args, f"Trust {what} again?")
    await _write(client, trust_domain, change)
    show(args, {"undone": what}, lambda: f"{what} is trusted again")
    return YES


async def _list(args: argparse.Namespace, client: ApiClient) -> int:
    trust_domain = await Reader(client).trust_domain()
    now = (await who_answers(client)).now
    entries = _entries(await _get(client, trust_domain))
    show(args, [each.to_json() for each in entries], lambda: _table(entries, now))
    return YES


def _table(entries: list[Entry], now: datetime) -> str:
    if not entries:
        return "nobody is revoked"
    rows = [
        (each.what, each.until or _NONE, "no, it has ended" if each.over(now) else "yes", each.reason)
        for each in entries
    ]
    return table(("REVOKED", "UNTIL", "IN FORCE", "REASON"), rows)


async def _get(client: ApiClient, trust_domain: str) -> Json:
    try:
        return await client.get(TRUST_DOMAINS.item("", trust_domain))
    except ApiError as error:
        if error.status == 404:
            raise CliError(f"there is no TrustDomain {trust_domain}: is handfast-controller running?") from error
        raise


def _entries(raw: Json) -> list[Entry]:
    return [Entry.from_json(each) for each in raw["spec"].get("revoked") or ()]


async def _write(client: ApiClient, trust_domain: str, change: Change) -> None:
    """Write over the version that was read, again where somebody was faster. Raises CliError, ApiError."""
    for _ in range(TRIES):
        raw = await _get(client, trust_domain)
        entries = [each.to_json() for each in change(_entries(raw))]
        patch = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": raw["metadata"]["resourceVersion"]},
            {"op": "add", "path": "/spec/revoked", "value": entries},
        ]
        try:
            written = await client.patch(TRUST_DOMAINS.item("", trust_domain), patch, JSON_PATCH, manager=MANAGER)
        except ApiError as error:
            # 422 is what a failed test of a JSON patch is answered with, and what the schema refuses too.
            if error.status == 409 or (error.status == 422 and await _changed(client, trust_domain, raw)):
                continue
            if error.status == 403:
                raise CliError(
                    "you may not change TrustDomains: an administrator can bind the ClusterRole handfast-trust-admin"
                    f" to you ({error.message})",
                    NO,
                ) from error
            raise
        _check(written, len(entries))
        return
    raise CliError(f"the TrustDomain {trust_domain} was changed again and again: try once more")


async def _changed(client: ApiClient, trust_domain: str, before: Json) -> bool:
    now = await _get(client, trust_domain)
    return bool(now["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"])


def _check(written: Json, entries: int) -> None:
    """A cluster with an older schema drops a field that it does not know, and says nothing."""
    if len(written["spec"].get("revoked") or ()) != entries:
        raise CliError("TrustDomains have no field spec.revoked here: the custom resources are of an older version")
