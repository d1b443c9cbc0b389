"""`/evidence` on the loopback of the directory's pod: for `handfast`, which comes by a forwarded port.

Who talks to whom is nobody's business who merely reaches the pod. On loopback the API server decides who reads it: by
the right to forward ports, or to run commands, in the operator's namespace.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from handfast_operator.evidence.view import EvidenceView, to_json
from handfast_sidecar.wellknown import EVIDENCE_PORT

HOST: Final = "127.0.0.1"


@asynccontextmanager
async def serve_evidence(view: Callable[[], EvidenceView], port: int = EVIDENCE_PORT) -> AsyncIterator[int]:
    """Serve it while the context lasts; the port, where 0 asked for any."""

    async def evidence(_request: web.Request) -> web.Response:
        # Of ten thousand edges it is megabytes: sidecars are not to wait for them.
        text = await asyncio.to_thread(_dump, view())
        return web.Response(text=text, content_type="application/json")

    application = web.Application()
    application.add_routes([web.get("/evidence", evidence)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _dump(view: EvidenceView) -> str:
    return json.dumps(to_json(view), separators=(",", ":"))
