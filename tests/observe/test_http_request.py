from hypothesis import given
from hypothesis import strategies as st

from handfast_sidecar.errors import BadInput
from handfast_sidecar.observe.http_request import Request, may_become_request, parse_request


@given(st.binary(max_size=400))
def test_any_bytes_are_a_request_or_refused(head: bytes) -> None:
    try:
        request = parse_request(head)
    except BadInput:
        return
    assert request.path.startswith("/")
    assert may_become_request(head)


@given(st.sampled_from(["GET", "HEAD", "POST"]), st.text("abc/.%~-_", max_size=50), st.text("x=&1", max_size=9))
def test_what_was_asked_is_what_is_read(method: str, path: str, query: str) -> None:
    head = f"{method} /{path}?{query} HTTP/1.1\r\nHost: a:1\r\nX-Y: \r\n\r\n".encode()
    assert parse_request(head) == Request(method, f"/{path}")
