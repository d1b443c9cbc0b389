"""The verbs of the API on the store: what a request changes, and everything that may refuse it.

The one rule: a change is worked out on what is stored, asked about, and stored only if nobody was faster; else it is
worked out again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from handfast_lab.api import deletion
from handfast_lab.api.accounts import account_of, with_account
from handfast_lab.api.admission import Admission, Caller, Question
from handfast_lab.api.applying import applied
from handfast_lab.api.calls import Call
from handfast_lab.api.defaults import Network, addressed
from handfast_lab.api.listing import list_keys
from handfast_lab.api.naming import name_problems
from handfast_lab.api.ownership import Owners, Writer, entries, leaves, owners_of
from handfast_lab.api.ownership import updated as owned_after
from handfast_lab.api.problems import ApiProblem, already_exists, bad_request, conflict, forbidden, invalid, not_found
from handfast_lab.api.resources import CRDS, Resource, Resources
from handfast_lab.api.shape import Shapes, established
from handfast_lab.api.store import Key, Store
from handfast_lab.api.writing import created, problems, received, updated

Json = dict[str, Any]
_ATTEMPTS: Final = 8
_IMMORTAL: Final = frozenset({"default", "kube-system", "kube-public"})


class Verbs:
    """Create, change, apply and delete; reading is the store's."""

    def __init__(self, store: Store, resources: Resources, caller: Caller, service_ranges: Sequence[Network]) -> None:
        self.store = store
        self.resources = resources
        self._shapes = Shapes()
        self._ranges = service_ranges
        self._admission = Admission(store.all, self._namespace_labels, caller)

    def existing(self, resource: Resource, key: Key) -> Json:
        """Raises ApiProblem."""
        found = self.store.get(resource.name, key)
        if found is None:
            raise not_found(resource.name, key[1])
        return found

    async def create(self, resource: Resource, namespace: str, body: Json, call: Call) -> Json:
        """Defaulted, admitted, validated and stored. Raises ApiProblem."""
        self._check_type(resource, body, namespace)
        self._check_namespace(resource, namespace, body)
        if (body.get("metadata") or {}).get("resourceVersion"):
            raise ApiProblem(500, "", "resourceVersion should not be set on objects to be created")

        def complete(found: Json) -> Json:
            return self._with_account(self._shapes.fit(resource, found, call))

        new = complete(received(resource, body, namespace))
        question = Question(resource, "CREATE", namespace, new["metadata"].get("name", ""), new, None,
                            call.subresource, call.user, call.dry_run, call.warnings)  # fmt: skip
        new = created(resource, await self._admission.mutate(question, complete) or new, _now())
        new = self._finished(resource, new)
        self._validate(resource, None, new)
        await self._admission.validate(replace(question, object=new, name=new["metadata"]["name"]))
        key = (namespace, new["metadata"]["name"])
        self._check_namespace(resource, namespace, body)
        if self.store.get(resource.name, key) is not None:
            raise already_exists(resource.name, key[1])
        return self._put(resource, key, new, None, call)

    async def change(self, resource: Resource, key: Key, make: Callable[[Json], Json], call: Call) -> Json:
        """Replace an object by what `make` makes of it. Raises ApiProblem."""
        for _ in range(_ATTEMPTS):
            old = self.existing(resource, key)
            body = make(old)
            self._check_type(resource, body, key[0], key[1])
            new = updated(resource, old, self._shapes.fit(resource, body, call), call.subresource)
            question = Question(resource, "UPDATE", key[0], key[1], new, old, call.subresource, call.user,
                                call.dry_run, call.warnings)  # fmt: skip
            mutated = await self._admission.mutate(question, lambda found: self._shapes.fit(resource, found, call))
            if mutated is not None and mutated != new:
                new = updated(resource, old, mutated, call.subresource)
            new = self._finished(resource, new, old)
            self._validate(resource, old, new, call.subresource)
            await self._admission.validate(replace(question, object=new))
            if self.store.get(resource.name, key) is old:
                return self._put(resource, key, new, old, call)
        raise conflict(resource.name, key[1], "the object has been modified; please apply your changes to the latest"
                       " version and try again")  # fmt: skip

    async def apply(self, resource: Resource, key: Key, wanted: Json, call: Call) -> tuple[Json, bool]:
        """Server-side apply: the object, and whether it is new. Raises ApiProblem."""
        keys = list_keys(resource)
        call = replace(call, applied=wanted)
        if self.store.get(resource.name, key) is None:
            return await self.create(resource, key[0], wanted, call), True

        def make(old: Json) -> Json:
            return applied(old, wanted, call.manager, keys, force=call.force)[0]

        return await self.change(resource, key, make, call), False

    async def delete(self, resource: Resource, key: Key, options: deletion.Options, call: Call) -> tuple[Json, bool]:
        """The object's last form, or how it is marked, and whether it is gone. Raises ApiProblem."""
        old = self.existing(resource, key)
        if resource.name == "namespaces" and key[1] in _IMMORTAL:
            raise forbidden(resource.name, key[1], "this namespace may not be deleted")
        deletion.marked(resource, old, options, _moment())  # preconditions first
        await self._admission.validate(Question(resource, "DELETE", key[0], key[1], None, old, "", call.user,
                                                call.dry_run, call.warnings))  # fmt: skip
        old = self.existing(resource, key)
        kept = deletion.marked(resource, old, options, _moment())
        if kept is not None:
            if kept == old or call.dry_run:
                return kept, False
            return self.store.put(resource.name, key, kept), False
        return old if call.dry_run else self._remove(resource, key), True

    def finish(self, resource: Resource, key: Key) -> None:
        """Take out what nothing holds any more, such as an empty namespace."""
        if self.store.get(resource.name, key) is not None:
            self._remove(resource, key)

    def _put(self, resource: Resource, key: Key, new: Json, old: Json | None, call: Call) -> Json:
        owners = self._owners(resource, new, old, call)
        if old is not None and new == old and owners == owners_of(old):
            return old
        managed = entries(owners, resource.api_version, old, _now())
        new = new | {"metadata": new["metadata"] | {"managedFields": managed}}
        if call.dry_run:
            return new
        stored = self.store.put(resource.name, key, new)
        if resource.name == CRDS:
            self.resources.define(stored)
        if old is not None and deletion.is_due(resource, stored):
            return self._remove(resource, key)
        return stored

    def _remove(self, resource: Resource, key: Key) -> Json:
        if resource.name == CRDS:
            for each in self.store.all(key[1]):
                self.store.remove(key[1], (each["metadata"].get("namespace", ""), each["metadata"]["name"]))
            self.resources.forget(key[1])
        return self.store.remove(resource.name, key)

    def _owners(self, resource: Resource, new: Json, old: Json | None, call: Call) -> Owners:
        keys = list_keys(resource)
        if call.applied is not None:
            return applied(old, call.applied, call.manager, keys, force=call.force)[1]
        before = leaves(old, keys) if old is not None else {}
        writer = Writer(call.manager, "Update", call.subresource)
        return owned_after(owners_of(old), before, leaves(new, keys), writer)

    def _finished(self, resource: Resource, new: Json, old: Json | None = None) -> Json:
        """With what depends on the whole store, or on the object as it will be."""
        if resource.name == CRDS:
            return established(new, _now())
        if resource.name == "namespaces":
            meta = new["metadata"]
            labels = (meta.get("labels") or {}) | {"kubernetes.io/metadata.name": meta.get("name", "")}
            return new | {"metadata": meta | {"labels": labels}}
        if resource.name == "services":
            name = new["metadata"].get("name")
            others = [
                each for each in self.store.all("services") if each["metadata"] is not (old or {}).get("metadata")
            ]
            taken = [ip for each in others for ip in each["spec"].get("clusterIPs") or () if ip != "None"]
            return addressed(new, self._ranges, taken) if name else new
        return new

    def _validate(self, resource: Resource, old: Json | None, new: Json, subresource: str = "") -> None:
        found = [] if old is not None else name_problems(resource, new["metadata"])
        found += [] if subresource else problems(resource, old, new)
        found += self._shapes.problems(resource, new, old)
        if found:
            raise invalid(resource.group_kind, new["metadata"].get("name", ""), found)

    def _with_account(self, found: Json) -> Json:
        if found["kind"] != "Pod" or found["apiVersion"] != "v1":
            return found
        meta, name = found["metadata"], account_of(found)
        account = self.store.get("serviceaccounts", (meta["namespace"], name))
        if account is None:
            why = f'error looking up service account {meta["namespace"]}/{name}: serviceaccount "{name}" not found'
            raise forbidden("pods", meta.get("name") or meta.get("generateName", "Unknown"), why)
        return with_account(found, account)

    def _namespace_labels(self, name: str) -> dict[str, str]:
        found = self.store.get("namespaces", ("", name)) or {"metadata": {}}
        return found["metadata"].get("labels") or {}

    def _check_namespace(self, resource: Resource, namespace: str, body: Json) -> None:
        if not resource.namespaced:
            return
        found = self.store.get("namespaces", ("", namespace))
        if found is None:
            raise not_found("namespaces", namespace)
        if (found.get("status") or {}).get("phase") == "Terminating":
            meta = body.get("metadata") or {}
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = {"reason": "NamespaceTerminating", "message": f"namespace {namespace} is being terminated",
                     "field": "metadata.namespace"}  # fmt: skip
            name = meta.get("name") or meta.get("generateName") or "Unknown"
            raise forbidden(resource.name, name, why, cause)

    @staticmethod
    def _check_type(resource: Resource, body: Json, namespace: str, name: str = "") -> None:
        """Raises ApiProblem where an object is not what the request's path says."""
        meta = body.get("metadata") or {}
        if not isinstance(meta, dict):
            raise bad_request("metadata: expected an object")
        kind, version = body.get("kind") or resource.kind, body.get("apiVersion") or resource.api_version
        if kind != resource.kind:
            raise bad_request(f'{kind} in version "{version}" cannot be handled as a {resource.kind}')
        if version != resource.api_version:
            raise bad_request(f"the API version in the data ({version}) does not match the expected API version"
                              f" ({resource.api_version})")  # fmt: skip
        if name and meta.get("name", name) != name:
            raise bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({name})")
        if (meta.get("namespace") or namespace) != namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def _moment() -> datetime:
    return datetime.now(UTC)


def _now() -> str:
    return deletion.timestamp(_moment())
