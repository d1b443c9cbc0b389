"""Why a verb has no answer, in a sentence and an exit code (docs/cli.md, "exit codes").

The one rule: "no" and "I do not know" are different codes, so that a script cannot take one for the other.
"""

import os
import re
from typing import Final

import aiohttp

from handfast_operator.cluster.access import Access
from handfast_operator.cluster.client import ApiError

YES: Final = 0
"""Allowed, done, or shown."""
NO: Final = 1
"""The answer is that it is refused."""
USAGE: Final = 2
"""The command line is not understood; argparse has this number too."""
UNKNOWN: Final = 3
"""It cannot be found out: no API server, no right, no such object."""
INTERRUPTED: Final = 130
_FORBIDDEN: Final = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]*)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)


class CliError(Exception):
    """Ends a verb: the sentence goes to standard error, the code to the shell."""

    def __init__(self, sentence: str, code: int = UNKNOWN) -> None:
        super().__init__(sentence)
        self.code = code


def told(error: ApiError, access: Access) -> str:
    """A refusal of the API server, with what to do about it."""
    if error.status == 401:
        return f"the API server does not know you any more: renew the credentials of {access.source}"
    if error.status == 403:
        return forbidden(error)
    if error.status == 404 and "could not find the requested resource" in error.message:
        return "this cluster does not know Handfast's kinds of objects: is Handfast installed there?"
    return f"the API server says: {error.message}"


def forbidden(error: ApiError) -> str:
    """Which right is missing."""
    found = _FORBIDDEN.search(error.message)
    if found is None:
        return f"you may not do that: {error.message}"
    kind = found["resource"] + (f".{found['group']}" if found["group"] else "")
    where = f"the namespace {found['namespace']}" if found["namespace"] else "the whole cluster"
    role = "Role" if found["namespace"] else "ClusterRole"
    return f"{found['user']} may not {found['verb']} {kind} in {where}: a {role} with that right is missing"


def unreachable(error: Exception, access: Access) -> str:
    """The API server did not answer."""
    why = "no answer in time" if isinstance(error, TimeoutError) else _short(error)
    return f"cannot reach the API server {access.url} ({access.source}): {why}"


def _short(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        # asyncio puts the address in place of the reason.
        return os.strerror(error.os_error.errno) if error.os_error.errno else str(error.os_error)
    return str(error) or type(error).__name__
