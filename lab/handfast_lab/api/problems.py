"""How the API server says no: the fields of a Status object (Kubernetes API conventions, "Response Status Kind")."""

from typing import Any

Json = dict[str, Any]


class ApiProblem(Exception):
    """A call is refused; `message` is what kubectl prints."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def status(self) -> Json:
        """The Status object that travels."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


def not_found(resource: str, name: str) -> ApiProblem:
    """`resource`: the plural, with the group behind a dot where there is one."""
    return ApiProblem(404, "NotFound", f'{resource} "{name}" not found', {"name": name, "kind": resource})


def already_exists(resource: str, name: str) -> ApiProblem:
    """An object of that name is there."""
    return ApiProblem(409, "AlreadyExists", f'{resource} "{name}" already exists', {"name": name, "kind": resource})


def conflict(resource: str, name: str, why: str) -> ApiProblem:
    """The object is not the one that the caller has read."""
    message = f'Operation cannot be fulfilled on {resource} "{name}": {why}'
    return ApiProblem(409, "Conflict", message, {"name": name, "kind": resource})


def invalid(kind: str, name: str, problems: list[str]) -> ApiProblem:
    """`kind`: as in `Pod` or `MTLSPolicy.handfast.dev`; `problems`: each `path: kind of problem: ...`."""
    said = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    return ApiProblem(422, "Invalid", f'{kind} "{name}" is invalid: {said}', {"name": name, "kind": kind})


def bad_request(message: str) -> ApiProblem:
    """The call itself is not understood."""
    return ApiProblem(400, "BadRequest", message)


def expired(version: int, oldest: int) -> ApiProblem:
    """The history that a watch asks for is forgotten."""
    return ApiProblem(410, "Expired", f"too old resource version: {version} ({oldest})")
