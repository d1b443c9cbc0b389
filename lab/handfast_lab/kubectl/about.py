"""What the server is, what kinds it has, and what one may do there: `version`, `api-resources`, `auth can-i`."""

from handfast_lab.kubectl.printing import lines
from handfast_lab.kubectl.refusals import Refusal, Stop
from handfast_lab.kubectl.session import Session


def version(session: Session) -> None:
    """Raises Stop, Refusal."""
    session.say("Client Version: the little kubectl of the Handfast lab")
    session.say(f"Server Version: {session.server.ask('GET', '/version')['gitVersion']}")


def api_resources(session: Session) -> None:
    """Raises Stop, Refusal."""
    rows = [["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]]
    rows += [
        [each.plural, ",".join(each.short), each.api_version, str(each.namespaced).lower(), each.name]
        for each in session.kinds.all()
    ]
    for line in lines(rows, []):
        session.say(line)


def auth(session: Session) -> int:
    """`can-i VERB KIND[/NAME]`: 1 for a no, as kubectl has it. Raises Stop, Refusal."""
    match session.line.words:
        case ("can-i", verb, word):
            name, _, one = word.partition("/")
        case ("can-i", verb, name, one):
            pass
        case _:
            raise Stop("error: you must specify two arguments: verb resource or verb resource/resourceName.")
    kind = session.kinds.named(name)
    everywhere = session.line.flag("all-namespaces") or not kind.namespaced
    asked = {"verb": verb, "group": kind.group, "resource": kind.plural, "name": one,
             "namespace": "" if everywhere else session.namespace}  # fmt: skip
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    try:
        allowed = session.server.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    except Refusal as problem:
        raise Stop(f"error: {problem.status.get('message', '')}") from problem
    session.say("yes" if allowed["status"]["allowed"] else "no")
    return 0 if allowed["status"]["allowed"] else 1
