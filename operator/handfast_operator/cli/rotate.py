"""`rotate`: replace the root, and see it through: what changes, who is waited for, and why.

Its one rule: it only asks. The operator rotates by itself, on evidence, and goes on whether anybody looks or not.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final

from handfast_operator.cli.authorities import (
    ACTIVE,
    DRAINING,
    IDLE,
    AuthorityRow,
    Rotation,
    authorities_of,
    read_trust_domain,
    rotation_of,
)
from handfast_operator.cli.errors import NO, USAGE, YES, CliError, forbidden
from handfast_operator.cli.following import versions
from handfast_operator.cli.interrupting import agrees
from handfast_operator.cli.output import ago, say, show, table, warn
from handfast_operator.cli.reader import Raw, Reader
from handfast_operator.cli.rotation_story import Goal, Story, ended, outcome
from handfast_operator.cluster.client import ApiClient, ApiError
from handfast_operator.cluster.kinds import TRUST_DOMAINS
from handfast_operator.resources.durations import parse_duration
from handfast_operator.resources.times import format_time

NAME: Final = "rotate"
HELP: Final = "replace the root that signs, and see who is waited for"
MANAGER: Final = "handfast-cli"
ROLE: Final = "handfast-trust-admin"
"""The ClusterRole that lets somebody rotate."""
FORGOTTEN_WITHIN_S: Final = 2.0
"""Seconds in which the operator notices that a field was left out."""
BEGINS_WITHIN_S: Final = 30.0
"""Seconds after which it is told that nothing has begun."""
_HEADERS: Final = ("AUTHORITY", "STATE", "SINCE", "UNTIL", "PODS")
_STRAGGLERS: Final = ("WAITING FOR", "REASON", "")
_NONE: Final = "-"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What is to be done; nothing said: a new root."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--status", action="store_true", help="show how far it is, and change nothing")
    what.add_argument("--pause", action="store_true", help="leave every authority where it is")
    what.add_argument("--resume", action="store_true", help="go on")
    what.add_argument(
        "--force",
        action="store_true",
        help="the next step does not wait for those who are not ready: it leaves them behind",
    )
    what.add_argument("--back", action="store_true", help="the root that signed before signs again")
    parser.add_argument("--no-wait", action="store_true", help="do not follow it to its end")
    parser.add_argument("--timeout", default="", metavar="DURATION", help="follow it for so long at most, such as 30m")
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask whether --force is meant")


async def run(args: argparse.Namespace, client: ApiClient) -> int:
    """Exit code 0: done, or shown; 1: it was taken back, is not done in time, or is not wanted. Raises CliError."""
    deadline = _seconds(args.timeout)
    trust_domain = await read_trust_domain(Reader(client))
    if args.status:
        show(args, document(trust_domain), lambda: text(trust_domain))
        return YES
    change, goal = _wanted(args, trust_domain)
    follows = not (args.no_wait or goal.at_once)
    if follows and args.output in ("json", "yaml"):
        raise CliError("it is followed in words: with -o json use --no-wait, or --status", USAGE)
    if change.get("force") and _asks_for(trust_domain).get("force") == change["force"]:
        # It counts once for each authority, and again when the operator has seen it left out.
        await _change(client, trust_domain, {"force": None})
        await asyncio.sleep(FORGOTTEN_WITHIN_S)
    changed = await _change(client, trust_domain, change)
    if not follows:
        show(args, document(changed), lambda: goal.asked)
        return YES
    say(goal.asked)
    return await _follow(client, trust_domain, changed, goal, deadline)


# --- what is asked for


def _wanted(args: argparse.Namespace, trust_domain: Raw) -> tuple[dict[str, Any], Goal]:
    """A change of `spec.rotation`, and its goal. Raises CliError."""
    rotation, authorities = rotation_of(trust_domain), authorities_of(trust_domain, datetime.now(UTC))
    before = frozenset(each.name for each in authorities)
    if args.pause:
        words = "Rotation is paused: no authority leaves its state, unless the root that signs comes to its end."
        return {"paused": True}, Goal(words, at_once=True)
    if args.resume:
        return {"paused": None}, Goal("Rotation goes on.", at_once=rotation.authority == "")
    if args.force:
        return _forced(args, rotation)
    if args.back:
        return _back(rotation, authorities)
    if "secretRef" in ((trust_domain.get("spec") or {}).get("issuer") or {}):
        name = trust_domain["spec"]["issuer"]["secretRef"].get("name")
        raise CliError(
            f"the root is not the operator's: renew it in the Secret {name} of its namespace (with cert-manager: cmctl"
            " renew), and the operator replaces it in the same steps; `handfast rotate --status` shows them",
            NO,
        )
    # A name that was to sign again would keep the next rotation from beginning.
    word = format_time(datetime.now(UTC))
    asked = f"Asked for a new root ({word})."
    if _asks_for(trust_domain).get("paused"):
        asked += " Rotation is paused: it begins after `handfast rotate --resume`."
    elif rotation.state != IDLE:
        asked += f" A rotation is on its way already ({rotation.state}): it begins after that one."
    return {"trigger": word, "back": None, "force": None}, Goal(asked, before)


def _forced(args: argparse.Namespace, rotation: Rotation) -> tuple[dict[str, Any], Goal]:
    if not rotation.authority:
        raise CliError("no rotation waits for anybody, so there is nothing to force", NO)
    warn(f"{rotation.authority} waits for {rotation.waiting}. They are left behind:")
    warn(_stragglers(rotation) or "  nobody that is known by name")
    warn(
        "Who does not trust the new root yet cannot talk to pods that have a new certificate, and who still has an old"
        " certificate is refused once the old root is gone; both until kubelet has brought them the new files."
    )
    if not args.yes:
        if not sys.stdin.isatty():
            raise CliError("--force leaves pods behind: say --yes where nobody can be asked", USAGE)
        if not agrees("Force it?"):
            raise CliError("nothing was forced", NO)
    words = f"{rotation.authority} does not wait for anybody in its next step."
    return {"force": rotation.authority}, Goal(words)


def _back(rotation: Rotation, authorities: Sequence[AuthorityRow]) -> tuple[dict[str, Any], Goal]:
    draining = [each for each in authorities if each.state == DRAINING]
    active = [each for each in authorities if each.state == ACTIVE]
    if draining:
        # The newest first: of several that drain the last one that signed.
        chosen = draining[0].name
    elif rotation.state != IDLE and active:
        chosen = active[0].name
    else:
        raise CliError("there is no rotation to go back in: the root that signed before is not trusted any more", NO)
    words = f"{chosen} is to sign again. Until the next `handfast rotate` no rotation begins."
    return {"back": chosen}, Goal(words, signer=chosen)


async def _change(client: ApiClient, trust_domain: Raw, rotation: dict[str, Any]) -> Raw:
    path = TRUST_DOMAINS.item("", trust_domain["metadata"]["name"])
    try:
        return await client.patch(path, {"spec": {"rotation": rotation}}, manager=MANAGER)
    except ApiError as error:
        if error.status == 403:
            raise CliError(
                f"{forbidden(error)}; an administrator can bind the ClusterRole {ROLE} to you", NO
            ) from error
        raise


def _asks_for(trust_domain: Raw) -> Raw:
    """What stands in `spec.rotation`."""
    asked: Raw = (trust_domain.get("spec") or {}).get("rotation") or {}
    return asked


def _seconds(duration: str) -> float | None:
    if not duration:
        return None
    try:
        return parse_duration(duration).total_seconds()
    except ValueError as error:
        raise CliError(f"--timeout: {error}", USAGE) from error


# --- how it goes


async def _follow(client: ApiClient, before: Raw, changed: Raw, goal: Goal, seconds: float | None) -> int:
    now = datetime.now(UTC)
    story = Story({each.name: each.state for each in authorities_of(before, now)}, state=rotation_of(before).state)
    latest = changed
    try:
        async with asyncio.timeout(seconds):
            async with aclosing(versions(client, TRUST_DOMAINS, "", changed["metadata"]["name"])) as news:
                nothing_yet = asyncio.get_running_loop().call_later(BEGINS_WITHIN_S, _nothing_has_begun)
                async for latest in news:
                    now = datetime.now(UTC)
                    lines = story.lines(latest, now)
                    for line in lines:
                        say(line)
                    sys.stdout.flush()
                    if lines:
                        nothing_yet.cancel()
                    code = outcome(latest, goal, story, now)
                    if code is not None:
                        nothing_yet.cancel()
                        say(ended(latest, code, now))
                        return code
    except TimeoutError:
        rotation = rotation_of(latest)
        raise CliError(
            f"not done in time, and it goes on: {rotation.state}, {rotation.waiting} are waited for. `handfast rotate"
            " --status` shows whom",
            NO,
        ) from None
    except asyncio.CancelledError:
        warn("\nThe rotation goes on without you: `handfast rotate --status` shows how far it is; --pause holds it")
        raise
    raise CliError(f"the TrustDomain {changed['metadata']['name']} was deleted")


def _nothing_has_begun() -> None:
    warn(f"Nothing has begun within {BEGINS_WITHIN_S:g} s: is handfast-controller running, and leading?")


# --- how it stands


def document(trust_domain: Raw) -> dict[str, Any]:
    """As `-o json` has it."""
    status = trust_domain.get("status") or {}
    return {
        "version": 1,
        "trustDomain": trust_domain["metadata"]["name"],
        "spec": _asks_for(trust_domain),
        "rotation": status.get("rotation") or {"state": IDLE},
        "authorities": status.get("authorities") or [],
    }


def text(trust_domain: Raw) -> str:
    """As people read it."""
    now = datetime.now(UTC)
    rotation = rotation_of(trust_domain)
    waiting = f", {rotation.waiting} are waited for" if rotation.waiting else ""
    head = f"{rotation.state}{waiting}. {rotation.message}".rstrip()
    rows = [
        (
            each.name,
            each.state,
            f"{ago((now - each.since).total_seconds())} ago" if each.since is not None else _NONE,
            format_time(each.ends) if each.ends is not None else _NONE,
            str(each.pods) if each.pods is not None else _NONE,
        )
        for each in authorities_of(trust_domain, now)
    ]
    parts = [head, table(_HEADERS, rows), _stragglers(rotation)]
    return "\n\n".join(filter(None, parts))


def _stragglers(rotation: Rotation) -> str:
    if not rotation.stragglers:
        return ""
    rows = [(each.pod, each.reason, each.message) for each in rotation.stragglers]
    more = rotation.waiting - len(rows)
    return table(_STRAGGLERS, rows) + (f"\nand {more} more" if more > 0 else "")
