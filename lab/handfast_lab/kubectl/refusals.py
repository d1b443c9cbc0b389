"""What ends a command, in kubectl's words (`checkErr` and `StandardErrorMessage` of k8s.io/kubectl/pkg/cmd/util).

Stop      the command cannot be done; the message is printed as it is
Refusal   the API server said no; how it is printed depends on the reason
Several   more than one of them
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


class Stop(Exception):
    """Printed as it is; the command ends with `code`."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@dataclass(slots=True)
class Refusal(Exception):
    """A Status object that says no."""

    status: Json

    @property
    def reason(self) -> str:
        """`NotFound`, `Invalid`, ..."""
        return str(self.status.get("reason") or "")

    def while_doing(self, doing: str) -> "Refusal":
        """The same, with what was being done in front of the server's words."""
        return Refusal(self.status | {"message": f"{doing}: {self.status.get('message', '')}"})


class Several(Exception):
    """More than one went wrong; the others were done."""

    def __init__(self, problems: Sequence[Stop | Refusal]) -> None:
        super().__init__()
        self.problems = problems


def raise_if_any(problems: Sequence[Stop | Refusal]) -> None:
    """One alone is told in more words than several. Raises it or Several."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise Several(problems)


def refusal(code: int, body: bytes) -> Refusal:
    """What an answer with a code above 399 says; a proxy in between may answer in plain text."""
    try:
        found = json.loads(body)
        if found["kind"] == "Status":
            return Refusal(found)
    except (KeyError, TypeError, ValueError):
        pass
    if code == 404:
        return Refusal({"reason": "NotFound", "message": "the server could not find the requested resource"})
    return Refusal({"reason": "", "message": body.decode(errors="replace").strip() or f"HTTP status {code}"})


def words(problem: Stop | Refusal | Several) -> str:
    """What is printed on standard error."""
    match problem:
        case Several():
            return "\n".join(_line(each).removeprefix("error: ") for each in problem.problems)
        case Refusal() if problem.reason == "Invalid":
            return _invalid(problem.status)
        case _:
            return _line(problem)


def _line(problem: Stop | Refusal) -> str:
    if isinstance(problem, Stop):
        return problem.message
    said = problem.status.get("message", "")
    if problem.reason == "Unauthorized":
        return f"error: You must be logged in to the server ({said})"
    return f"Error from server ({problem.reason}): {said}" if problem.reason else f"Error from server: {said}"


def _invalid(status: Json) -> str:
    details = status.get("details") or {}
    found = dict.fromkeys(f"{each.get('field')}: {each.get('message')}" for each in details.get("causes") or ())
    if not found:
        # kubectl would leave the server's words out where it names the object without causes: nobody is served by that.
        return f"The request is invalid: {status.get('message', '')}"
    named = details.get("kind") or details.get("name")
    what = (
        f'The {details.get("kind", "")} "{details.get("name", "")}" is invalid' if named else "The request is invalid"
    )
    return f"{what}: {next(iter(found))}" if len(found) == 1 else "\n".join([f"{what}: ", *(f"* {e}" for e in found)])
