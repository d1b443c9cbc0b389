"""How the API server says no: the fields of a Status object (Kubernetes API conventions, "Response Status Kind")."""

from typing import Any, Final

Json = dict[str, Any]
_REASONS: Final = {
    "Duplicate value": "FieldValueDuplicate",
    "Forbidden": "FieldValueForbidden",
    "Internal error": "InternalError",
    "Required value": "FieldValueRequired",
    "Too few": "FieldValueTooFew",
    "Too long": "FieldValueTooLong",
    "Too many": "FieldValueTooMany",
    "Unsupported value": "FieldValueNotSupported",
}


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
    return ApiProblem(404, "NotFound", f'{resource} "{name}" not found', _about(resource, name))


def already_exists(resource: str, name: str) -> ApiProblem:
    """An object of that name is there."""
    return ApiProblem(409, "AlreadyExists", f'{resource} "{name}" already exists', _about(resource, name))


def conflict(resource: str, name: str, why: str) -> ApiProblem:
    """The object is not the one that the caller has read."""
    message = f'Operation cannot be fulfilled on {resource} "{name}": {why}'
    return ApiProblem(409, "Conflict", message, _about(resource, name))


def invalid(kind: str, name: str, problems: list[str]) -> ApiProblem:
    """`kind`: as in `Pod` or `MTLSPolicy.handfast.dev`; `problems`: each `path: kind of problem: ...`."""
    said = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    causes = [_cause(each) for each in problems]
    return ApiProblem(422, "Invalid", f'{kind} "{name}" is invalid: {said}', _about(kind, name) | {"causes": causes})


def not_allowed() -> ApiProblem:
    """There is such a thing, but not for this verb."""
    return ApiProblem(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def bad_request(message: str) -> ApiProblem:
    """The call itself is not understood."""
    return ApiProblem(400, "BadRequest", message)


def expired(version: int, oldest: int) -> ApiProblem:
    """The history that a watch asks for is forgotten."""
    return ApiProblem(410, "Expired", f"too old resource version: {version} ({oldest})")


def forbidden(resource: str, name: str, why: str, *causes: Json) -> ApiProblem:
    """Nobody may do this now, or ever."""
    details: Json = _about(resource, name) | ({"causes": list(causes)} if causes else {})
    return ApiProblem(403, "Forbidden", f'{resource} "{name}" is forbidden: {why}', details)


def _about(kind: str, name: str) -> Json:
    plain, _, group = kind.partition(".")
    return {"name": name, "kind": plain} | ({"group": group} if group else {})


def _cause(problem: str) -> Json:
    """One of the sentences that `invalid` takes, in its parts: kubectl prints these."""
    path, _, said = problem.partition(": ")
    reason = next((reason for words, reason in _REASONS.items() if said.startswith(words)), "FieldValueInvalid")
    return {"reason": reason, "message": said, "field": path}
