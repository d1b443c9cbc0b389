"""`create`: what a file describes, or one of the few kinds that a command line can."""

from base64 import b64encode
from typing import Any

from handfast_lab.kubectl.applying import STRICT
from handfast_lab.kubectl.manifests import manifests
from handfast_lab.kubectl.refusals import Refusal, Stop, raise_if_any
from handfast_lab.kubectl.session import Session, seconds
from handfast_lab.kubectl.targets import Target

Json = dict[str, Any]


def create(session: Session) -> None:
    """Raises Stop, Refusal, Several."""
    words = session.line.words
    if not words:
        _from_files(session)
        return
    match (*words,):
        case ("namespace" | "ns", name):
            _post(session, _of("Namespace", name), "")
        case ("serviceaccount" | "sa", name):
            _post(session, _of("ServiceAccount", name), "failed to create serviceaccount:")
        case ("secret", "generic", name):
            data = dict(each.split("=", 1) for each in session.line.all("from-literal") if "=" in each)
            if len(data) < len(session.line.all("from-literal")):
                raise Stop("error: invalid literal source, expected key=value")
            encoded = {key: b64encode(value.encode()).decode() for key, value in data.items()}
            kind = {"type": session.line.one("type", "Opaque")}
            _post(session, _of("Secret", name) | {"data": encoded} | kind, "failed to create secret")
        case ("token", name):
            _token(session, name)
        case _:
            raise Stop(
                f'error: "create {" ".join(words)}" is not known to the little kubectl of the lab: install kubectl'
            )


def _from_files(session: Session) -> None:
    problems: list[Stop | Refusal] = []
    query = STRICT | session.dry() | {"fieldManager": "kubectl-create"}
    for each in manifests(session, problems):
        try:
            made = session.server.ask("POST", each.kind.path(each.namespace), each.body, query=query)
        except Refusal as problem:
            problems.append(problem.while_doing(f'error when creating "{each.source}"'))
        else:
            session.done(each.kind, made["metadata"]["name"], "created")
    raise_if_any(problems)


def _of(kind: str, name: str) -> Json:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}


def _post(session: Session, body: Json, failing: str) -> None:
    """`failing`: what kubectl says in front of a refusal, where it hides the reason."""
    kind = session.kinds.named(body["kind"])
    query = STRICT | session.dry() | {"fieldManager": "kubectl-create"}
    try:
        session.server.ask("POST", kind.path(session.namespace), body, query=query)
    except Refusal as problem:
        if failing:
            raise Stop(f"error: {failing} {problem.status.get('message', '')}") from problem
        raise
    session.done(kind, body["metadata"]["name"], "created")


def _token(session: Session, name: str) -> None:
    spec: Json = {"audiences": list(session.line.all("audience"))} if session.line.all("audience") else {}
    if duration := session.line.one("duration"):
        spec["expirationSeconds"] = int(seconds(duration))
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    account = Target(session.kinds.named("serviceaccounts"), session.namespace, name)
    try:
        answer = session.server.ask("POST", account.path("token"), request)
    except Refusal as problem:
        raise Stop(f"error: failed to create token: {problem.status.get('message', '')}") from problem
    session.stdout.write(answer["status"]["token"])  # without a line's end, as kubectl prints it
