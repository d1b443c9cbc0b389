"""The demo, inside the lab's namespaces: all parts, Handfast, the shop, and the walk."""

import argparse
import asyncio
import sys
import time
from typing import Final

from handfast_lab.demo.stage import Stage, StepFailed
from handfast_lab.demo.telling import Teller
from handfast_lab.demo.walk import SHOP, STEPS
from handfast_lab.inside import add_options, forget, lifeline, run
from handfast_lab.install import HANDFAST
from handfast_lab.lab import Lab

READY_S: Final = 40.0


def main() -> int:
    """Exit code 1 when a step failed."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    parser.add_argument("--stay", action="store_true")
    parser.add_argument("--step", action="store_true")
    return run(_until_let_go(parser.parse_args()))


async def _until_let_go(chosen: argparse.Namespace) -> int:
    """The demo, or as much of it as there is time for until the lifeline closes."""
    showing = asyncio.create_task(show(chosen))
    ending = asyncio.create_task(lifeline())
    try:
        await asyncio.wait({showing, ending}, return_when=asyncio.FIRST_COMPLETED)
        return showing.result() if showing.done() else 1
    finally:
        for task in (showing, ending):
            task.cancel()
        await asyncio.wait({showing, ending})
        forget(chosen.kubeconfig)


async def show(chosen: argparse.Namespace) -> int:
    """Start everything and walk through the steps."""
    teller = Teller()
    began = time.monotonic()
    teller.progress("starting a cluster of namespaces and processes")
    async with Lab.running(chosen.listen, kubeconfig=chosen.kubeconfig) as lab:
        stage = Stage(teller, lab.kubeconfig)
        try:
            await _prepare(stage)
            teller.progress(f"ready after {time.monotonic() - began:.0f} s")
            for number, step in enumerate(STEPS, 1):
                if chosen.step:
                    await asyncio.to_thread(_wait_for_enter)
                teller.title(number, len(STEPS), step.title, step.why)
                await step.act(stage)
        except StepFailed as problem:
            teller.failed(str(problem))
            teller.say("     Run it again with --stay to look around; the sidecars' logs say why they refuse what.")
            if not chosen.stay:
                return 1
        else:
            teller.say("")
            teller.say(f"All of it was seen, in {time.monotonic() - began:.0f} s. Nothing of it stays on this machine.")
        if chosen.stay:
            teller.say("")
            teller.say(f"The lab stays until Ctrl-C. In another terminal:\n\n    export KUBECONFIG={chosen.kubeconfig}")
            teller.say("    kubectl get pods -A      # without kubectl: alias kubectl='python -m handfast_lab.kubectl'")
            await asyncio.Event().wait()
        return 0


async def _prepare(stage: Stage) -> None:
    """Handfast and the shop, both at once: nobody waits for the one while the other starts."""
    await stage.ask("create namespace handfast-system")
    stage.teller.progress("installing Handfast and a shop")
    await stage.run(f"apply --server-side -f {HANDFAST}", show=False)
    await stage.run(f"apply -f {SHOP}", show=False)
    for namespace, name in (
        *(("shop", name) for name in ("web", "cart", "orders")),
        *(("handfast-system", f"handfast-{part}") for part in ("controller", "webhook", "directory")),
    ):
        words = f"rollout status deployment/{name} -n {namespace} --timeout={READY_S:.0f}s"
        await stage.run(words, show=False)


def _wait_for_enter() -> None:
    sys.stdout.write("\n     [Enter] ")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    sys.exit(main())
