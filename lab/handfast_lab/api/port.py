"""What the lab's own parts (controllers, node agent, demo) ask of the API server, in its process.

The same code answers HTTP, so admission, validation, versions and watches are the same for both.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, NamedTuple, Protocol

Json = dict[str, Any]


class Event(NamedTuple):
    """A change that a watch tells of; `object` is a copy that the receiver may keep."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Json


class Api(Protocol):
    """`resource` is `pods` or, with a group, `deployments.apps`; cluster-scoped objects have the namespace "".

    Every call gives copies and raises ApiProblem where the server would refuse.
    """

    def get(self, resource: str, namespace: str, name: str) -> Json:
        """One object."""
        ...

    def list(self, resource: str, namespace: str = "", *, labels: Mapping[str, str] | None = None) -> list[Json]:
        """All of a namespace, or of all with ""; with these labels."""
        ...

    async def create(self, body: Json, *, user: str = ...) -> Json:
        """Create what apiVersion, kind and metadata say: defaulted, admitted, validated."""
        ...

    async def update(self, body: Json, *, subresource: str = "") -> Json:
        """Replace it; over its resourceVersion alone when it has one. `subresource`: "" or "status"."""
        ...

    async def patch(self, resource: str, namespace: str, name: str, patch: Json, *, subresource: str = "") -> Json:
        """Merge-patch it (RFC 7386)."""
        ...

    async def delete(self, resource: str, namespace: str, name: str, *, grace_s: int | None = None) -> None:
        """Delete it; a pod with a grace period is marked, and goes when it is deleted again with `grace_s=0`."""
        ...

    def watch(self, resource: str, namespace: str = "", *, name: str = "") -> AsyncIterator[Event]:
        """What is there, as ADDED, then every change, for ever; registered before this returns."""
        ...
