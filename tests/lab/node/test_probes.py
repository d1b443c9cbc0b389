"""Probes: one question, and rows of answers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from handfast_lab.node.probes import Answer, Row, answers, ask

CONTAINER = {"name": "app", "ports": [{"name": "web", "containerPort": 1}]}


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that says 404 to whoever has no header X, and 200 to the others."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        status = b"200 OK" if b"X: y" in head else b"404 Not Found"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    async with server:
        yield server.sockets[0].getsockname()[1]


async def execute(command: list[str]) -> tuple[int, str]:
    return len(command), "said"


async def asked(**handler: Any) -> Answer:
    return await ask(handler, CONTAINER, "127.0.0.1", execute, 2)


async def test_http_probes_have_headers_and_fail_by_their_status(port: int) -> None:
    headers = [{"name": "X", "value": "y"}]
    assert (await asked(httpGet={"port": port, "path": "/", "httpHeaders": headers})).success
    failed = await asked(httpGet={"port": port})
    assert (failed.success, failed.message) == (False, "HTTP probe failed with statuscode: 404")


async def test_tcp_probes_connect(port: int) -> None:
    assert (await asked(tcpSocket={"port": port})).success
    failed = await asked(tcpSocket={"port": "web"})
    assert (failed.success, failed.message[:8]) == (False, "port 1: ")


async def test_a_port_that_the_container_lacks_is_named() -> None:
    assert (await asked(tcpSocket={"port": "none"})).message == "couldn't find port: 'none'"


async def test_commands_and_sleeps() -> None:
    assert await asked(exec={"command": ["false"]}) == Answer(success=False, message="said")
    assert (await asked(exec={"command": []})).success
    assert (await asked(sleep={"seconds": 0})).success


async def test_no_answer_in_time_is_a_failure() -> None:
    failed = await ask({"sleep": {"seconds": 60}}, CONTAINER, "", execute, 0.01)
    assert failed == Answer(success=False, message="no answer within 0.01 s")


@pytest.mark.parametrize(
    ("probe", "row", "verdict"),
    [
        ({}, [True], True),
        ({}, [False, False], None),
        ({}, [False, False, False], False),
        ({}, [False, False, True, False], None),
        ({"successThreshold": 2}, [True], None),
        ({"successThreshold": 2}, [True, True], True),
        ({"failureThreshold": 1}, [True, False], False),
    ],
)
def test_enough_of_one_kind_in_a_row_is_a_verdict(probe: Any, row: list[bool], verdict: bool | None) -> None:
    counted = Row(probe)
    assert [counted.add(each) for each in row][-1] is verdict


async def test_every_answer_comes_with_its_verdict() -> None:
    async def question(timeout_s: float) -> Answer:
        return Answer(success=timeout_s == 7)

    async for verdict, answer in answers({"timeoutSeconds": 7}, question):
        assert (verdict, answer) == (True, Answer(success=True))
        break
