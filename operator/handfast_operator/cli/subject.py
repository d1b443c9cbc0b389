"""How the ends of a connection are written on the command line (docs/cli.md, "naming things"). Pure.

`[NAMESPACE/][KIND/]NAME`. The one rule: what stands before a slash is a kind where it is the word for one, else a
namespace; who has a namespace called `pod` writes all three parts.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from handfast_operator.cli.errors import USAGE, CliError
from handfast_operator.cluster.kinds import DEPLOYMENTS, PODS, SERVICES, Kind

POD: Final = "pod"
SERVICE: Final = "service"
ACCOUNT: Final = "serviceaccount"
ADDRESS: Final = "address"
ANY: Final = ""
"""A name alone: a pod, or as a destination a Service where there is no such pod."""
_WORDS: Final = {
    POD: ("po", "pods"),
    SERVICE: ("svc", "services"),
    ACCOUNT: ("sa", "serviceaccounts"),
    "deployment": ("deploy", "deployments"),
    "statefulset": ("sts", "statefulsets"),
    "daemonset": ("ds", "daemonsets"),
    "replicaset": ("rs", "replicasets"),
    "job": ("jobs",),
}
_KINDS: Final = {word: kind for kind, others in _WORDS.items() for word in (kind, *others)}
WORKLOADS: Final = {
    "deployment": DEPLOYMENTS,
    "statefulset": Kind("/apis/apps/v1", "statefulsets"),
    "daemonset": Kind("/apis/apps/v1", "daemonsets"),
    "replicaset": Kind("/apis/apps/v1", "replicasets"),
    "job": Kind("/apis/batch/v1", "jobs"),
}
COLLECTIONS: Final = {POD: PODS, SERVICE: SERVICES, **WORKLOADS}
_FORM: Final = "[NAMESPACE/][KIND/]NAME, such as cart-7d9f, deployment/cart, shop/cart-7d9f or shop/deployment/cart"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is meant."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind or POD} {self.namespace}/{self.name}" if self.namespace else self.name


def parse_subject(text: str, namespace: str) -> Subject:
    """One end; `namespace`: of what names none. Raises CliError."""
    match text.split("/"):
        case [name] if name:
            return Subject(ANY, namespace, name)
        case [kind, name] if kind.lower() in _KINDS and name:
            return Subject(_KINDS[kind.lower()], namespace, name)
        case [other, name] if other and name:
            return Subject(ANY, other, name)
        case [other, kind, name] if other and kind.lower() in _KINDS and name:
            return Subject(_KINDS[kind.lower()], other, name)
        case [other, kind, name] if other and name:
            words = ", ".join(_WORDS)
            raise CliError(f"{text!r}: {kind!r} is no kind that can be named here, only {words} are", USAGE)
    raise CliError(f"{text!r} names nothing: expected {_FORM}", USAGE)


def parse_destination(text: str, namespace: str) -> tuple[Subject, str]:
    """What is dialled, and its port, a number or a name. Raises CliError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port or ("]" not in host and ":" in host):
        raise CliError(f"{text!r} has no port: write TO:PORT, such as service/orders:8080 or [fd00::7]:8080", USAGE)
    try:
        return Subject(ADDRESS, "", str(ip_address(host.removeprefix("[").removesuffix("]")))), port
    except ValueError:
        pass
    labels = host.rstrip(".").split(".")
    if "/" not in host and len(labels) > 1:
        if len(labels) > 2 and labels[2] != "svc":
            raise CliError(
                f"{host!r} is no name of a Service (NAME.NAMESPACE or NAME.NAMESPACE.svc): for what is outside of the"
                " cluster write its address, for a pod pod/NAME",
                USAGE,
            )
        return Subject(SERVICE, labels[1], labels[0]), port
    return parse_subject(host, namespace), port
