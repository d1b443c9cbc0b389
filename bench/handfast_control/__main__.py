"""`python -m handfast_control`: verdicts, policies, leaves, what the control plane costs, as tables. Wiring only."""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from handfast_bench import machine
from handfast_bench.namespaces import BenchFailed
from handfast_bench.rounds import say
from handfast_control import published, verdicts
from handfast_control.figures import Table, dump, judged
from handfast_control.kubernetes import binaries
from handfast_control.recompile import recompile
from handfast_control.renewals import PODS, renewals

ROOT: Final = Path(__file__).parents[2]
JSON: Final = ROOT / "bench" / "out" / "control.json"
BESIDE: Final = (
    "Beside it: cert-manager times 500 certificates of ten CA issuers (cert-manager/cert-manager,"
    " design/20221205-memory-management.md, v1.11); the seconds are in its screenshots alone, so none are quoted here."
    " It makes 20 requests a second unless told otherwise (its documentation, Scaling cert-manager)."
)
_ALONE: Final = ("sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def run(options: argparse.Namespace) -> None:
    """Measure, write the JSON, print the tables. Raises BenchFailed."""
    began, load = time.monotonic(), os.getloadavg()[0]
    pace, counts = (verdicts.QUICK, (0, 1, 100)) if options.quick else (verdicts.FULL, verdicts.COUNTS)
    tables = [
        asyncio.run(verdicts.verdicts(pace, counts)),
        verdicts.yardsticks(pace, counts),
        recompile(2, pods=100, rules=(1, 10)) if options.quick else recompile(20),
        *_apart("push", "quick" if options.quick else "full", os.environ.get("HANDFAST_KUBECONFIG", "")),
        *_alone("issuance", "Secrets of 10,000 pods", "quick" if options.quick else "full"),
        *_alone("footprint", "the control plane's footprint", "quick" if options.quick else "full"),
        asyncio.run(renewals(1000 if options.quick else PODS)),
    ]
    if not options.quick:
        tables.append(judged(tables))
    about = {**machine.describe(), "quick": options.quick, "load_before": round(load, 2)}
    about |= {"run_s": round(time.monotonic() - began)}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(dump(about, tables))
    ours = about["handfast"]
    _print(
        f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, {about['date']}, python {ours['python']},"
        f" commit {ours['commit']}, a load of {load:.1f} before it began\n"
    )
    for each in tables:
        _print(each.markdown())
    _print(published.markdown())
    _print(BESIDE + "\n")
    if options.quick:
        _print("A quick run: it shows that the bench works, and its figures are worth little.")
    say(f"written: {options.out}; {about['run_s']} s")


def _alone(section: str, what: str, plan: str) -> list[Table]:
    """Always on an API server of its own: what it takes is to be counted, and nobody else's pods are in the way."""
    if plan == "full" and binaries() is None:
        say(f"not run: {what}, for kube-apiserver is not built: `make cluster-up` does that")
        return []
    return _apart(section, plan, "")


def _apart(section: str, plan: str, kubeconfig: str) -> list[Table]:
    """In a process of its own, since everything of it is in another network namespace."""
    folder = Path(tempfile.mkdtemp(prefix="handfast-control-"))
    words = [sys.executable, "-m", f"handfast_control.{section}", plan, str(folder)]
    if kubeconfig:
        words.append(kubeconfig)
    else:
        as_root = () if os.geteuid() == 0 else ("--user", "--map-root-user")
        words = ["unshare", *as_root, "--net", *_ALONE, *words]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise BenchFailed(f"{section} could not be measured: logs are in {folder}")
    shutil.rmtree(folder)
    return [Table.from_json(each) for each in json.loads(done.stdout)]


def _print(text: str) -> None:
    print(text)  # noqa: T201 - a command's own output


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m handfast_control", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; judges nothing")
    parser.add_argument("--out", type=Path, default=JSON)
    options = parser.parse_args()
    try:
        run(options)
    except BenchFailed as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
