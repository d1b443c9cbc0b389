"""Run in a user namespace by test_user_namespace.py: a pod whose containers are of several users."""

import asyncio
import tempfile
from pathlib import Path

from lab.node.stage import Stage, shell, stage


async def tried(node: Stage) -> str:
    """What the pod writes."""
    data = [{"name": "data", "mountPath": "/var/run/handfast/cache"}]
    init = shell("echo init > /var/run/handfast/cache/said", "init", volumeMounts=data)
    script = "print(__import__('os').getuid(), open('/var/run/handfast/cache/said').read())"
    main = {"name": "app", "image": "python", "args": [script], "volumeMounts": data}
    return await node.result("mapped", main, initContainers=[init], volumes=[{"name": "data", "emptyDir": {}}])


async def main() -> None:
    """Print it."""
    async with stage(Path(tempfile.mkdtemp())) as node:
        print(await tried(node))  # noqa: T201 - for the test that started us


if __name__ == "__main__":
    asyncio.run(main())
