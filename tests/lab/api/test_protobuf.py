"""Bodies in Protocol Buffers, byte for byte as kubectl sends them."""

import pytest

from handfast_lab.api.problems import ApiProblem
from handfast_lab.api.protobuf import decode


def field(number: int, value: bytes | int) -> bytes:
    """One field with a value below 128, or with fewer than 128 bytes."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def envelope(kind: str, raw: bytes) -> bytes:
    named = field(1, b"v1") + field(2, kind.encode())
    return b"k8s\0" + field(1, named) + field(2, raw) + field(3, b"") + field(4, b"")


META = field(1, b"shop") + field(2, b"") + field(3, b"") + field(8, b"")


def test_a_namespace_is_read() -> None:
    raw = field(1, META) + field(2, b"") + field(3, field(1, b""))
    assert decode(envelope("Namespace", raw)) == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}


def test_a_secrets_data_is_read() -> None:
    raw = field(1, META) + field(2, field(1, b"a") + field(2, b"\xff")) + field(3, b"Opaque") + field(5, 1)
    found = decode(envelope("Secret", raw))
    assert (found["data"], found["type"], found["immutable"]) == ({"a": "/w=="}, "Opaque", True)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{}", "does not begin as a Kubernetes object"),
        (envelope("Job", b""), "kind 'Job'"),
        (envelope("ServiceAccount", field(2, b"x")), "field 2 of ServiceAccount"),
        (envelope("Namespace", b"")[:-5], "it ends too early"),
    ],
)
def test_what_is_not_known_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(ApiProblem, match=why) as refused:
        decode(body)
    assert refused.value.code == 415
