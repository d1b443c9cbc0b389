"""A CRD of one kind, Thing, whose spec a test writes."""

from collections.abc import Callable
from typing import Any

import pytest

from handfast_lab.api.schema import CustomSchema

Json = dict[str, Any]
Thing = Callable[..., Json]
ThingSchema = Callable[[Json], CustomSchema]
Said = Callable[..., list[str]]


def crd(spec: Json) -> Json:
    """The least that `CustomSchema.of` reads of one."""
    properties = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    schema = {"type": "object", "properties": {**properties, "spec": spec}}
    version = {"name": "v1", "schema": {"openAPIV3Schema": schema}}
    return {"metadata": {"name": "things.t.example"}, "spec": {"versions": [version]}}


@pytest.fixture(scope="session")
def thing() -> Thing:
    """Makes a Thing of its spec."""
    return lambda spec: {"apiVersion": "t.example/v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": spec}


@pytest.fixture(scope="session")
def schema() -> ThingSchema:
    """Reads the CRD whose spec has this schema."""
    return lambda spec: CustomSchema.of(crd(spec), "v1")


@pytest.fixture(scope="session")
def said(schema: ThingSchema, thing: Thing) -> Said:
    """The problems of a spec with one field `a` of this schema, created or (third argument) updated."""

    def ask(field: Json, value: object, *old: object) -> list[str]:
        of = schema({"type": "object", "properties": {"a": field}})
        before = thing({"a": old[0]}) if old else None
        return of.problems(of.default(thing({"a": value})), before)

    return ask
