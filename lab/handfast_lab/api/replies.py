"""Answers and bodies of HTTP requests."""

import json
from typing import Any

from aiohttp import web

from handfast_lab.api import requests
from handfast_lab.api.calls import Call
from handfast_lab.api.registry import Registry

Json = dict[str, Any]


def reply(found: Json, call: Call | None = None, *, status: int = 200) -> web.Response:
    """JSON, with the warnings that came up."""
    response = web.json_response(found, status=status)
    for each in dict.fromkeys(call.warnings if call is not None else ()):
        response.headers.add("Warning", f"299 - {json.dumps(each, ensure_ascii=False)}")
    return response


async def bodies(request: web.Request) -> Any:
    """What a request brings. Raises ApiProblem."""
    return requests.body(await request.read(), request.headers.get("Content-Type", "").partition(";")[0].strip())


def calls(registry: Registry, request: web.Request, subresource: str = "", *, patched: bool = False) -> Call:
    """Who asks, and how."""
    user = registry.tokens.user(request.headers.get("Authorization", ""))
    return requests.call(request.query, request.headers.get("User-Agent", ""), user, subresource, patched=patched)
