"""Whether there is one trust domain, with an authority that signs, and its rotation gets on."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from handfast_operator.checks.check import Check
from handfast_operator.checks.facts import AUTHORITIES, NOTHING, Facts, Raw
from handfast_operator.checks.finding import Problem, error, warning
from handfast_operator.cluster.kinds import TRUST_DOMAINS

_RETIRED: Final = "Retired"
_NOT_SERVED: Final = "NotServed"
_CONTROLLER: Final = "handfast-controller"
_NAMED: Final = 5
"""Pods that a rotation waits for and that are named."""


def served(facts: Facts) -> Raw | None:
    """The TrustDomain that the operator issues for."""
    found = [each for each in facts.of(TRUST_DOMAINS) if condition(each, "Ready").get("reason") != _NOT_SERVED]
    return found[0] if found else None


def status_of(trust_domain: Raw | None) -> Mapping[str, Any]:
    """Its status; empty where there is none yet."""
    return (trust_domain or NOTHING).get("status") or NOTHING


def condition(raw: Raw, kind: str) -> Mapping[str, Any]:
    """Of an object's status; empty where it is not stated."""
    conditions = (raw.get("status") or NOTHING).get("conditions") or ()
    return next((each for each in conditions if each["type"] == kind), NOTHING)


def authorities(facts: Facts) -> Sequence[Mapping[str, Any]]:
    """Of the trust domain, as its status names them, without those that are trusted no more."""
    return [each for each in status_of(served(facts)).get("authorities") or () if each["state"] != _RETIRED]


def _ready(facts: Facts) -> Iterator[Problem]:
    look = f"kubectl logs -n {facts.namespace} deployment/{_CONTROLLER} --tail=50"
    if not facts.of(TRUST_DOMAINS):
        yield error(
            "TrustDomain",
            "there is none: nobody signs. The controller makes one when it starts",
            f"kubectl rollout restart deployment/{_CONTROLLER} -n {facts.namespace}",
        )
        return
    names = [each["metadata"]["name"] for each in facts.of(TRUST_DOMAINS)]
    if served(facts) is None:
        yield error(
            f"TrustDomain {', '.join(names)}",
            f"the operator issues for none of these: {condition(facts.of(TRUST_DOMAINS)[0], 'Ready').get('message')}",
            f"kubectl rollout restart deployment/{_CONTROLLER} -n {facts.namespace} makes the one of the chart's value"
            " trustDomain",
        )
    for each in facts.of(TRUST_DOMAINS):
        name, said = each["metadata"]["name"], condition(each, "Ready")
        about = f"TrustDomain {name}"
        if said.get("reason") == _NOT_SERVED:
            yield warning(
                about,
                f"there are {len(names)} TrustDomains, and this one has no effect: {said.get('message')}",
                f"kubectl delete trustdomain {name}, if nobody meant it for another installation",
            )
        elif not said:
            yield error(about, "the controller has said nothing of it: no authority signs yet", look)
        elif said["status"] != "True":
            yield error(about, f"it is not ready, {said.get('reason')}: {said.get('message')}", look)


def _kept(facts: Facts) -> Iterator[Problem]:
    there = {each["metadata"]["name"] for each in facts.of(AUTHORITIES)}
    for each in authorities(facts):
        if each["name"] not in there:
            yield error(
                f"Secret {facts.namespace}/{each['name']}",
                f"it is lost: the key of the authority that is {each['state']} is in no other place. Pods go on until"
                " their certificates end; the controller makes another root, which they come to trust",
                "put it back from a backup, or follow the new root: handfast rotate --status"
                " (docs/certificates.md#when-a-key-is-lost)",
            )


def _accepted(facts: Facts) -> Iterator[Problem]:
    trust_domain = served(facts)
    if trust_domain is None:
        return
    said = condition(trust_domain, "IssuerAccepted")
    if said and said["status"] != "True":
        name = ((trust_domain["spec"].get("issuer") or NOTHING).get("secretRef") or NOTHING).get("name", "?")
        yield error(
            f"TrustDomain {trust_domain['metadata']['name']}",
            f"its external issuer is refused, {said.get('reason')}: {said.get('message')} Until it is accepted, the"
            " authority of before signs, as long as it lives",
            f"mend the Secret {facts.namespace}/{name} where it is made (docs/certificates.md#when-it-is-refused)",
        )


def _stuck(facts: Facts) -> Iterator[Problem]:
    trust_domain = served(facts)
    rotation = status_of(trust_domain).get("rotation") or NOTHING
    about = f"TrustDomain {(trust_domain or {'metadata': NOTHING})['metadata'].get('name')}"
    if rotation.get("state") == "Paused":
        yield warning(about, f"its rotation is paused: {rotation.get('message')}", "handfast rotate --resume")
    waiting = int(rotation.get("waiting") or 0)
    if waiting:
        named = [f"{each['pod']} ({each.get('reason')})" for each in (rotation.get("stragglers") or ())[:_NAMED]]
        more = f" and {waiting - len(named)} more" if waiting > len(named) else ""
        yield warning(
            about,
            f"the rotation to {rotation.get('authority')}, {rotation.get('state')} since {rotation.get('since')}, waits"
            f" for {', '.join(named)}{more}. kubelet brings a changed Secret within 100 s",
            "handfast rotate --status says what each lacks; restart such a pod, or leave it behind: handfast rotate"
            " --force",
        )


def _fine(facts: Facts) -> str:
    trust_domain = served(facts)
    message = condition(trust_domain, "Ready").get("message", "") if trust_domain is not None else ""
    return f"{(trust_domain or {'metadata': {'name': ''}})['metadata']['name']}: {str(message).removesuffix('.')}"


def _signs(facts: Facts) -> bool:
    return served(facts) is not None


TRUST_DOMAIN = Check("trust-domain", _fine, _ready, (TRUST_DOMAINS,))
SECRET = Check(
    "authority-secret", lambda _facts: "every authority has its Secret", _kept, (TRUST_DOMAINS, AUTHORITIES), _signs
)
ISSUER = Check("issuer", lambda _facts: "what signs is accepted", _accepted, (TRUST_DOMAINS,), _signs)
ROTATION = Check("rotation", lambda _facts: "no rotation waits for anybody", _stuck, (TRUST_DOMAINS,), _signs)
