"""Whether the API server asks the webhook about the pods that opted in, and about no others."""

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from cryptography import x509

from handfast_operator.checks.check import Check
from handfast_operator.checks.facts import NOTHING, Asked, Facts, Raw
from handfast_operator.checks.finding import Problem, error, warning
from handfast_operator.cluster.kinds import CONFIG_MAPS, MUTATING_WEBHOOKS, NAMESPACES, VALIDATING_WEBHOOKS, Kind
from handfast_operator.resources.selectors import Labels, parse_selector
from handfast_sidecar.errors import BadCertificate
from handfast_sidecar.identity.bundle import parse_bundle
from handfast_sidecar.wellknown import (
    INJECT_DISABLED,
    INJECT_ENABLED,
    LABEL_INJECT,
    WEBHOOK_ACCOUNT,
    WEBHOOK_CONFIGURATION,
)

_BOTH: Final = (
    (MUTATING_WEBHOOKS, "MutatingWebhookConfiguration", "namespace.inject.handfast.dev", "pod.inject.handfast.dev"),
    (
        VALIDATING_WEBHOOKS,
        "ValidatingWebhookConfiguration",
        "ephemeral.validate.handfast.dev",
        "pod.ephemeral.validate.handfast.dev",
    ),
)
"""Kind, and its entries: for namespaces that opted in, and for pods that did."""
_NEEDS: Final = (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS)
_PLAINTEXT: Final = "pods that opted in start without a sidecar, in plaintext"
_NAME: Final = "kubernetes.io/metadata.name"
_RULES: Final = {MUTATING_WEBHOOKS: ("CREATE", "pods"), VALIDATING_WEBHOOKS: ("UPDATE", "pods/ephemeralcontainers")}


def _entries(facts: Facts) -> Iterator[tuple[Kind, str, Raw]]:
    """Kind, name of the kind and entry, of all that are there."""
    for kind, title, *names in _BOTH:
        found = facts.named(kind, WEBHOOK_CONFIGURATION) or NOTHING
        yield from ((kind, title, each) for each in found.get("webhooks") or () if each["name"] in names)


def _missing(facts: Facts) -> Iterator[Problem]:
    for kind, title, *names in _BOTH:
        about = f"{title} {WEBHOOK_CONFIGURATION}"
        found = facts.named(kind, WEBHOOK_CONFIGURATION)
        consequence = (
            _PLAINTEXT if kind is MUTATING_WEBHOOKS else "nobody refuses ephemeral containers around the sidecar"
        )
        if found is None:
            yield error(about, f"it is missing: {consequence}", facts.upgrade)
            continue
        there = {each["name"] for each in found.get("webhooks") or ()}
        for name in names:
            if name not in there:
                yield error(about, f"its entry {name} is missing: {consequence}", facts.upgrade)
    for kind, title, entry in _entries(facts):
        about = f"{title} {WEBHOOK_CONFIGURATION}"
        service = (entry.get("clientConfig") or NOTHING).get("service") or NOTHING
        if (service.get("namespace"), service.get("name")) != (facts.namespace, WEBHOOK_ACCOUNT):
            asked = f"the Service {service.get('namespace')}/{service.get('name')}" if service else "an URL"
            yield error(
                about,
                f"its entry {entry['name']} asks {asked}, and not {facts.namespace}/{WEBHOOK_ACCOUNT}",
                facts.upgrade,
            )
        operation, resource = _RULES[kind]
        if not any(
            {operation, "*"} & set(each.get("operations") or ()) and {resource, "*"} & set(each.get("resources") or ())
            for each in entry.get("rules") or ()
        ):
            yield error(
                about, f"the rules of its entry {entry['name']} leave {operation} of {resource} out", facts.upgrade
            )


def _ignored(facts: Facts) -> Iterator[Problem]:
    for kind, title, entry in _entries(facts):
        policy = entry.get("failurePolicy", "Fail")
        if policy != "Fail":
            lost = _PLAINTEXT if kind is MUTATING_WEBHOOKS else "ephemeral containers are not looked at"
            yield error(
                f"{title} {WEBHOOK_CONFIGURATION}",
                f"the failurePolicy of its entry {entry['name']} is {policy}: when the webhook does not answer, {lost}",
                f"{facts.upgrade}; pods that started meanwhile are told of under pods-without-sidecar",
            )


def _selectors(facts: Facts) -> Iterator[Problem]:
    for kind, title, by_namespace, by_pod in _BOTH:
        about = f"{title} {WEBHOOK_CONFIGURATION}"
        entries = {each["name"]: each for found, _title, each in _entries(facts) if found is kind}
        if by_namespace in entries:
            yield from _of_namespaces(about, entries[by_namespace], facts, injects=kind is MUTATING_WEBHOOKS)
        if by_pod in entries:
            yield from _of_pods(about, entries[by_pod], facts.upgrade)


def _of_namespaces(about: str, entry: Raw, facts: Facts, *, injects: bool) -> Iterator[Problem]:
    name = entry["name"]
    opted_in = {"any-namespace": {_NAME: "any-namespace", LABEL_INJECT: INJECT_ENABLED}} | {
        each.name: {_NAME: each.name, **each.labels}
        for each in facts.namespaces.values()
        if each.labels.get(LABEL_INJECT) == INJECT_ENABLED and each.name not in ("kube-system", facts.namespace)
    }
    lost = [each for each, labels in opted_in.items() if not _selects(entry, labels, {})]
    if lost:
        # The made-up one stands for all of them.
        who = "namespaces" if "any-namespace" in lost else f"the namespace {lost[0]}"
        yield error(
            about,
            f"the selectors of its entry {name} leave out {who} with the label {LABEL_INJECT}={INJECT_ENABLED}:"
            f" {_PLAINTEXT if injects else 'its pods are not looked at'}",
            facts.upgrade,
        )
    if _selects(entry, {_NAME: "any-namespace"}, {}):
        yield error(
            about,
            f"the namespaceSelector of its entry {name} selects namespaces that did not opt in: without the webhook,"
            " none of their pods can be created",
            facts.upgrade,
        )
    if _selects(entry, {_NAME: facts.namespace, LABEL_INJECT: INJECT_ENABLED}, {}):
        yield error(
            about,
            f"the namespaceSelector of its entry {name} selects {facts.namespace}: the webhook's own pods would wait"
            " for the webhook",
            facts.upgrade,
        )
    if injects and _selects(entry, opted_in["any-namespace"], {LABEL_INJECT: INJECT_DISABLED}):
        yield warning(
            about, f"its entry {name} selects pods with the label {LABEL_INJECT}={INJECT_DISABLED} too", facts.upgrade
        )


def _of_pods(about: str, entry: Raw, remedy: str) -> Iterator[Problem]:
    if not _selects(entry, {_NAME: "any-namespace"}, {LABEL_INJECT: INJECT_ENABLED}):
        yield error(
            about,
            f"the selectors of its entry {entry['name']} leave out pods with the label {LABEL_INJECT}={INJECT_ENABLED}",
            remedy,
        )
    if _selects(entry, {_NAME: "any-namespace"}, {}):
        yield error(
            about,
            f"the selectors of its entry {entry['name']} mean pods that did not opt in: without the webhook none of"
            " them can be created",
            remedy,
        )


def _selects(entry: Raw, namespace: Labels, pod: Labels) -> bool:
    """As the API server decides it: a selector that is left out selects everything."""
    both = ((entry.get("namespaceSelector"), namespace), (entry.get("objectSelector"), pod))
    return all((found := parse_selector(raw)) is None or found.matches(labels) for raw, labels in both)


def _authorities(facts: Facts) -> Iterator[Problem]:
    trusted = _published(facts)
    told: set[str] = set()
    for _kind, title, entry in _entries(facts):
        about = f"{title} {WEBHOOK_CONFIGURATION}"
        found = _bundle((entry.get("clientConfig") or NOTHING).get("caBundle"))
        if isinstance(found, str):
            message = f"the caBundle of its entry {entry['name']} {found}: the API server does not believe the webhook"
        elif trusted and not set(found) & trusted:
            message = (
                f"the caBundle of its entry {entry['name']} is of somebody else: it has none of the roots that the"
                " operator signs with, so that the API server does not believe the webhook"
            )
        else:
            continue
        if about not in told:
            told.add(about)
            yield error(
                about,
                f"{message}, and no pod that opts in can be created",
                "the controller writes it again within 10 s: if this stays, look at its log, and at whoever else"
                " writes it (Argo CD: ignoreDifferences on webhooks[].clientConfig.caBundle)",
            )


def _published(facts: Facts) -> set[x509.Certificate]:
    found: set[x509.Certificate] = set()
    for config_map in facts.of(CONFIG_MAPS):
        for pem in (config_map.get("data") or {}).values():
            try:
                found |= set(parse_bundle(pem.encode()))
            except BadCertificate:
                continue
    return found


def _bundle(text: str | None) -> Sequence[x509.Certificate] | str:
    """The certificates, or what is wrong with them."""
    if not text:
        return "is empty"
    try:
        return parse_bundle(base64.b64decode(text, validate=True))
    except (BadCertificate, binascii.Error):
        return "holds no certificate of an authority"


def _tried(facts: Facts) -> Iterator[Problem]:
    if facts.trial:
        yield error(
            f"MutatingWebhookConfiguration {WEBHOOK_CONFIGURATION}",
            f"a pod that opts in cannot be created (tried without keeping it): {facts.trial}",
            "what is named above it is the cause; else look whether the API server reaches port 14443 of the webhook's"
            " pods (firewall, NetworkPolicy), and: kubectl logs -n"
            f" {facts.namespace} deployment/{WEBHOOK_ACCOUNT} --tail=50",
        )


def _there(facts: Facts) -> bool:
    return any(True for _ in _entries(facts))


def _checks() -> Iterable[Check]:
    yield Check("webhook-configuration", lambda _facts: "the API server asks the webhook", _missing, _NEEDS)
    yield Check(
        "failure-policy", lambda _facts: "without an answer of the webhook no pod starts", _ignored, _NEEDS, _there
    )
    yield Check(
        "webhook-selector",
        lambda _facts: "who opted in is selected, and nobody else",
        _selectors,
        (*_NEEDS, NAMESPACES),
        _there,
    )
    yield Check(
        "ca-bundle",
        lambda _facts: "the API server trusts the operator's roots",
        _authorities,
        (*_NEEDS, CONFIG_MAPS),
        _there,
    )
    yield Check("admission", lambda _facts: "a pod that opts in gets a sidecar (tried)", _tried, (Asked.TRIAL,), _there)


CHECKS = tuple(_checks())
