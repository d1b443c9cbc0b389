"""Custom resources."""

from lab.api.stage import APPLY, CRDS, STRATEGIC, THINGS, Client, definition, thing


async def test_a_definition_is_established_at_once(things: Client) -> None:
    conditions = (await things.get(f"{CRDS}/things.t.example")).body["status"]["conditions"]
    assert {each["type"]: each["status"] for each in conditions} == {"NamesAccepted": "True", "Established": "True"}
    made = (await things.create(THINGS, thing("one", color="red"))).body
    assert made["spec"] == {"color": "red", "size": 1}


async def test_a_generation_counts_specs_and_not_status(things: Client) -> None:
    await things.create(THINGS, thing("one"))
    told = (await things.patch(f"{THINGS}/one/status", {"status": {"seen": 1}, "spec": {"size": 9}})).body
    assert (told["metadata"]["generation"], told["status"]["seen"], told["spec"]["size"]) == (1, 1, 1)
    changed = (await things.patch(f"{THINGS}/one", {"spec": {"size": 2}, "status": {"seen": 9}})).body
    assert (changed["metadata"]["generation"], changed["status"]["seen"]) == (2, 1)


async def test_an_unknown_field_is_refused_warned_about_or_dropped(things: Client) -> None:
    strict = await things.create(THINGS, thing("one", sise=1), fieldValidation="Strict")
    assert (strict.status, strict.message) == (
        400,
        'Thing in version "v1" cannot be handled as a Thing: strict decoding error: unknown field "spec.sise"',
    )
    warned = await things.create(THINGS, thing("one", sise=1))
    assert warned.warnings == ['299 - "unknown field \\"spec.sise\\""']
    assert warned.body["spec"] == {"size": 1}
    assert (await things.create(THINGS, thing("two", sise=1), fieldValidation="Ignore")).warnings == []


async def test_an_unknown_field_in_a_patch_is_refused_in_other_words(things: Client) -> None:
    await things.create(THINGS, thing("one"))
    patched = await things.patch(f"{THINGS}/one", {"spec": {"sise": 1}}, fieldValidation="Strict")
    assert patched.status == 422
    assert patched.message.startswith(' "" is invalid: patch: Invalid value: "{')
    assert patched.message.endswith('strict decoding error: unknown field "spec.sise"')
    applied = await things.patch(f"{THINGS}/one", thing("one", sise=1), APPLY, fieldManager="me")
    assert applied.message.endswith("Kind=Thing): .spec.sise: field not declared in schema")


async def test_what_the_schema_forbids_is_refused(things: Client) -> None:
    answer = await things.create(THINGS, thing("one", size="large"))
    assert (answer.status, answer.body["details"]["kind"]) == (422, "Thing")
    assert 'spec.size: Invalid value: "string"' in answer.message


async def test_no_strategic_patch_for_custom_resources(things: Client) -> None:
    await things.create(THINGS, thing("one"))
    assert (await things.patch(f"{THINGS}/one", {"spec": {"size": 2}}, STRATEGIC)).status == 415


async def test_a_definition_takes_its_objects_with_it(things: Client) -> None:
    await things.create(THINGS, thing("one"))
    assert (await things.delete(f"{CRDS}/things.t.example")).status == 200
    assert (await things.get(THINGS)).status == 404
    await things.create(CRDS, definition())
    assert (await things.get(THINGS)).body["items"] == []
