"""Admission webhooks: who is asked about a request, in which order, and what their answers do.

Not enforced, unlike in a cluster: Pod Security, ValidatingAdmissionPolicies, RBAC, quotas and limit ranges;
`matchPolicy` and `matchConditions` are not looked at.
The one rule: mutating webhooks are asked one after the other, and once more (`IfNeeded`) where another one changed the
object after them; then the validating ones see what will be stored.
"""

import base64
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from handfast_lab.api.patching import json_patch
from handfast_lab.api.problems import ApiProblem
from handfast_lab.api.resources import Resource
from handfast_lab.api.selection import matches

Json = dict[str, Any]
MUTATING: Final = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
VALIDATING: Final = "validatingwebhookconfigurations.admissionregistration.k8s.io"
_NEVER_ASKED: Final = "admissionregistration.k8s.io"
"""Webhooks about webhooks could lock everybody out."""


class Unanswered(Exception):
    """A webhook gave no answer that can be used: why, as the real server words it."""


class Caller(Protocol):
    """Sends a review to a webhook; `webhook_calls.WebhookCaller` does it over TLS."""

    async def ask(self, webhook: Json, review: Json) -> Json:
        """The AdmissionReview that comes back. Raises Unanswered."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """A request that may be admitted."""

    resource: Resource
    operation: str
    """`CREATE`, `UPDATE`, `DELETE` or `CONNECT`."""
    namespace: str
    name: str
    object: Json | None
    old: Json | None
    subresource: str = ""
    user: str = "kubernetes-admin"
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    """Told to the client; webhooks add theirs."""


class Admission:
    """Asks the webhooks that are configured."""

    def __init__(self, configurations: Callable[[str], Iterable[Json]], labels: Callable[[str], Mapping[str, str]],
                 caller: Caller) -> None:  # fmt: skip
        """`configurations`: those of a kind; `labels`: of a namespace."""
        self._configurations = configurations
        self._labels = labels
        self._caller = caller

    async def mutate(self, question: Question, between: Callable[[Json], Json]) -> Json | None:
        """The object as webhooks changed it; `between` is applied after each change. Raises ApiProblem."""
        asked: list[Json] = []
        again: list[Json] = []
        for webhook in self._selected(MUTATING, question):
            before = question.object
            question = replace(question, object=await self._changed(webhook, question, between))
            if question.object != before:
                again = [each for each in asked if each not in again] + again
            if webhook.get("reinvocationPolicy") == "IfNeeded":
                asked.append(webhook)
        for webhook in again:
            question = replace(question, object=await self._changed(webhook, question, between))
        return question.object

    async def validate(self, question: Question) -> None:
        """Raises ApiProblem where a webhook refuses."""
        for webhook in self._selected(VALIDATING, question):
            await self._ask(webhook, question)

    def _selected(self, kind: str, question: Question) -> list[Json]:
        if question.resource.group == _NEVER_ASKED:
            return []
        configurations = sorted(self._configurations(kind), key=lambda each: str(each["metadata"]["name"]))
        webhooks = [webhook for each in configurations for webhook in each.get("webhooks") or ()]
        return [each for each in webhooks if self._concerns(each, question)]

    def _concerns(self, webhook: Json, question: Question) -> bool:
        if not any(_matches(rule, question) for rule in webhook.get("rules") or ()):
            return False
        found = [each for each in (question.object, question.old) if each is not None]
        namespace = question.namespace or (question.name if question.resource.name == "namespaces" else "")
        labels = self._labels(namespace) if namespace else {}
        if question.resource.name == "namespaces" and question.object is not None:
            labels = question.object["metadata"].get("labels") or {}
        # Only namespaces and what lies in them can be left out by a namespace's labels.
        by_namespace = not namespace or matches(webhook.get("namespaceSelector"), labels)
        by_object = any(
            matches(webhook.get("objectSelector"), each["metadata"].get("labels") or {}) for each in found
        )  # fmt: skip
        return by_namespace and by_object

    async def _changed(self, webhook: Json, question: Question, between: Callable[[Json], Json]) -> Json | None:
        answer = await self._ask(webhook, question)
        if not answer.get("patch") or question.object is None:
            return question.object
        return between(json_patch(question.object, json.loads(base64.b64decode(answer["patch"]))))

    async def _ask(self, webhook: Json, question: Question) -> Json:
        name = webhook["name"]
        if question.dry_run and webhook.get("sideEffects") not in ("None", "NoneOnDryRun"):
            raise ApiProblem(400, "BadRequest", f'admission webhook "{name}" does not support dry run')
        review = _review(question)
        try:
            answer = _checked(await self._caller.ask(webhook, review), review["request"]["uid"])
        except Unanswered as error:
            if webhook.get("failurePolicy") == "Ignore":
                return {}
            message = f'Internal error occurred: failed calling webhook "{name}": {error}'
            causes = [{"message": message.partition(": ")[2]}]
            raise ApiProblem(500, "InternalError", message, {"causes": causes}) from error
        question.warnings.extend(answer.get("warnings") or ())
        if not answer["allowed"]:
            raise _refusal(name, answer.get("status") or {})
        return answer


def _matches(rule: Json, question: Question) -> bool:
    resource = question.resource
    path = f"{resource.plural}/{question.subresource}" if question.subresource else resource.plural
    wanted = {path, f"{resource.plural}/*", f"*/{question.subresource}", "*/*"} | (
        set() if question.subresource else {"*"}
    )
    return (
        bool({"*", resource.group} & set(rule.get("apiGroups") or ()))
        and bool({"*", resource.version} & set(rule.get("apiVersions") or ()))
        and bool({"*", question.operation} & set(rule.get("operations") or ()))
        and bool(wanted & set(rule.get("resources") or ()))
        and rule.get("scope", "*") in ("*", "Namespaced" if resource.namespaced else "Cluster")
    )


def _review(question: Question) -> Json:
    resource = question.resource
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    where = {"group": resource.group, "version": resource.version, "resource": resource.plural}
    request: Json = {
        "uid": str(uuid.uuid4()),
        "kind": kind,
        "resource": where,
        "requestKind": kind,
        "requestResource": where,
        "name": question.name,
        "operation": question.operation,
        "userInfo": {"username": question.user, "groups": ["system:masters", "system:authenticated"]},
        "object": question.object,
        "oldObject": question.old,
        "dryRun": question.dry_run,
        "options": {"apiVersion": "meta.k8s.io/v1", "kind": f"{question.operation.capitalize()}Options"},
    }
    if resource.namespaced:
        request["namespace"] = question.namespace
    if question.subresource:
        request |= {"subResource": question.subresource, "requestSubResource": question.subresource}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def _checked(review: Json, uid: str) -> Json:
    answer = review.get("response")
    if not isinstance(answer, dict) or not isinstance(answer.get("allowed"), bool):
        raise Unanswered("received invalid webhook response: webhook response was absent")
    if answer.get("uid") != uid:
        raise Unanswered(f'received invalid webhook response: expected response.uid="{uid}", got "{answer.get("uid")}"')
    return answer


def _refusal(name: str, status: Json) -> ApiProblem:
    said = status.get("message") or status.get("reason")
    words = f'admission webhook "{name}" denied the request' + (f": {said}" if said else " without explanation")
    return ApiProblem(max(int(status.get("code") or 0), 400), str(status.get("reason") or ""), words)
