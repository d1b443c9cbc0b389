"""How objects are shown: whole, as a Table, or their metadata alone, as the client's Accept header asks. Pure."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from handfast_lab.api.columns import columns
from handfast_lab.api.events import to_group
from handfast_lab.api.resources import Resource

Json = dict[str, Any]
_META: Final = "meta.k8s.io/v1"


class Showing:
    """One way to show objects of a kind."""

    def __init__(self, resource: Resource, stored: Resource, accept: str, include: str = "") -> None:
        """`include`: the `includeObject` of the query."""
        self._resource = resource
        self._convert: Callable[[Json], Json] = to_group if resource != stored else lambda found: found
        self._form = _form(accept)
        self._include = include or "Metadata"
        self._columns, self._cells = columns(stored)

    def one(self, found: Json) -> Json:
        """An object, in an answer or an event."""
        match self._form:
            case "Table":
                return self._table([found], {"resourceVersion": found["metadata"]["resourceVersion"]})
            case "PartialObjectMetadata" | "PartialObjectMetadataList":
                return _partial(found)
            case _:
                return self._convert(found)

    def many(self, found: Sequence[Json], meta: Json) -> Json:
        """A list."""
        match self._form:
            case "Table":
                return self._table(found, meta)
            case "PartialObjectMetadata" | "PartialObjectMetadataList":
                items = [_partial(each) for each in found]
                return {"kind": "PartialObjectMetadataList", "apiVersion": _META, "metadata": meta, "items": items}
            case _:
                version, kind = self._resource.api_version, f"{self._resource.kind}List"
                items = [self._convert(each) for each in found]
                return {"kind": kind, "apiVersion": version, "metadata": meta, "items": items}

    def bookmark(self, version: int, annotations: Json) -> Json:
        """An object that tells nothing but a version."""
        meta: Json = {"resourceVersion": str(version), "creationTimestamp": None}
        if annotations:
            meta["annotations"] = annotations
        if self._form == "Table":
            return self._table([], meta)
        return {"kind": self._resource.kind, "apiVersion": self._resource.api_version, "metadata": meta}

    def _table(self, found: Iterable[Json], meta: Json) -> Json:
        rows = [{"cells": self._cells(each), "object": self._included(each)} for each in found]
        return {
            "kind": "Table",
            "apiVersion": _META,
            "metadata": meta,
            "columnDefinitions": self._columns,
            "rows": rows,
        }

    def _included(self, found: Json) -> Json | None:
        return {"Object": self._convert(found), "None": None}.get(self._include, _partial(found))


def _partial(found: Json) -> Json:
    return {"kind": "PartialObjectMetadata", "apiVersion": _META, "metadata": found["metadata"]}


def _form(accept: str) -> str:
    """Of the first media type that we can give; `""` is the object itself."""
    for each in accept.split(","):
        media, *rest = (part.strip() for part in each.split(";"))
        parameters = dict(part.split("=", 1) for part in rest if "=" in part)
        if media in ("application/json", "application/*", "*/*") and parameters.get("v", "v1") == "v1":
            return parameters.get("as", "")
    return ""
