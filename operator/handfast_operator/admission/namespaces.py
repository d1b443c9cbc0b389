"""The labels of namespaces: remembered by a reflector, or asked for.

What is remembered may be a moment old, so the one rule: nobody is turned away, or left in plaintext, by memory alone.
"""

from handfast_operator.cluster.client import ApiClient
from handfast_operator.cluster.kinds import NAMESPACES
from handfast_operator.cluster.objects import Namespace, parse_namespace
from handfast_operator.cluster.store import Store
from handfast_operator.resources.selectors import Labels


class NamespaceLabels:
    """Labels by the name of a namespace."""

    def __init__(self, client: ApiClient, store: Store[Namespace]) -> None:
        self._client = client
        self._store = store

    def remembered(self, name: str) -> Labels | None:
        """As last heard; None: it may be too new."""
        known = self._store.get("", name)
        return known.labels if known is not None else None

    async def asked(self, name: str) -> Labels:
        """As the API server has them now. Raises ApiError, OSError or TimeoutError."""
        return parse_namespace(await self._client.get(NAMESPACES.item("", name))).labels
