"""A process of its own: the lab's API server over HTTPS, with our kinds and nothing that acts on objects.

`python -m handfast_control.apiserver KUBECONFIG`: writes the file, then prints one line.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any, Final

import yaml
from aiohttp import web

from handfast_lab.api.admission import Unanswered
from handfast_lab.api.registry import Registry
from handfast_lab.api.server import application
from handfast_lab.serving import Serving

CRDS: Final = Path(__file__).parents[2] / "crds"


class _NoWebhooks:
    """None is configured."""

    async def ask(self, webhook: dict[str, Any], _review: dict[str, Any]) -> dict[str, Any]:
        raise Unanswered(f"{webhook['name']} is not in this cluster")


async def serve(kubeconfig: Path) -> None:
    """Until cancelled."""
    registry, serving = Registry(_NoWebhooks()), Serving()
    for each in sorted(CRDS.glob("*.yaml")):
        await registry.create(yaml.safe_load(each.read_text()))
    runner = web.AppRunner(application(registry), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=serving.context).start()
    serving.write_kubeconfig(kubeconfig, f"https://127.0.0.1:{runner.addresses[0][1]}")
    print("ready", flush=True)  # noqa: T201 - whoever started us waits for it
    await registry.run()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
