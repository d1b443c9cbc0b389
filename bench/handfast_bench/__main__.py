"""`python -m handfast_bench`: measure the data plane beside its peers, and show what was found. Wiring only."""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from handfast_bench import gorelay, machine
from handfast_bench.cases import CASES, FULL, QUICK, Pace
from handfast_bench.limits import raise_open_files
from handfast_bench.namespaces import BenchFailed
from handfast_bench.peers import MAKERS, NGINX_STREAM, SUITES
from handfast_bench.picture import svg
from handfast_bench.results import Report, parse_report
from handfast_bench.rounds import Plan, run, say
from handfast_bench.table import markdown

ROOT: Final = Path(__file__).parent.parent.parent
JSON: Final = ROOT / "bench" / "out" / "dataplane.json"
SVG: Final = ROOT / "docs" / "performance.svg"
TOOLS: Final = {"nginx": "nginx-light", "wrk": "wrk", "curl": "curl"}
PEER_TOOLS: Final = {
    "haproxy": {"haproxy": "haproxy"},
    "nginx": {str(NGINX_STREAM): "libnginx-mod-stream"},
    "stunnel": {"stunnel4": "stunnel4"},
}
"""What is run, and Debian's package that has it."""
_BUSY: Final = 0.5
"""Runnable processes; above it somebody else is measured too."""
NOTES: Final = (
    "Each proxy is a pair, client side and server side, with one worker each and mutual TLS 1.3 from the same root.",
    "Client, proxies and back end share the machine's cores.",
    "sockets is one haproxy without TLS: what the applications' own connections cost, and no proxy can do without.",
    "handfast runs whole: policy, access log, metrics, directory.",
    "stunnel has a thread for each connection; go is a relay on crypto/tls (`bench/peers/gorelay`) with GOMAXPROCS=1.",
    "A peer resumes TLS sessions where it does so by default.",
    "requests/s and CPU are of a window that opens when all connections are established; percentiles of the whole run.",
    "openssl and gnutls are an application's own TLS, without any proxy.",
    "gnutls has the server's certificate only: it does no False Start with a client's.",
    "The link has no delay: in a network, each saved round trip saves more.",
    "Memory per idle connection is the growth of both sides' RSS, per connection and proxy.",
)


def dataplane(options: argparse.Namespace) -> None:
    """Measure, write the JSON, print the tables."""
    notes = list(NOTES)
    proxies, left_out = _proxies(_names(options.only, MAKERS))
    _require_tools(proxies)
    if left_out:
        say(left_out)
        notes.append(left_out)
    raise_open_files()
    pace = _pace(options)
    cases = [each for each in _names(options.cases, CASES) if options.cases or each not in pace.leave_out]
    began, load = time.monotonic(), os.getloadavg()[0]
    if load > _BUSY:
        notes.append(f"The machine was busy before it began: a load of {load:.1f} over the last minute.")
        say(notes[-1])
    results = run(Plan(proxies, cases, pace))
    if options.quick:
        notes.append("A quick run: it shows that the bench works, and its figures are worth little.")
    about = {**machine.describe(), "quick": options.quick, "load_before": round(load, 2)}
    about |= {"run_s": round(time.monotonic() - began), "notes": notes}
    report = Report(about, results)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(report.dump())
    _print(markdown(report))
    say(f"written: {options.out}; {about['run_s']} s")


def ciphers(options: argparse.Namespace) -> None:
    """Measure what each cipher suite costs."""
    _require_tools(list(SUITES))
    raise_open_files()
    results = run(Plan(list(SUITES), ["keepalive-128", "bulk-8"], replace(FULL, repeats=options.repeats)))
    _print(markdown(Report({**machine.describe(), "notes": []}, results)))


def picture(options: argparse.Namespace) -> None:
    """Draw what was measured."""
    options.out.write_text(svg(_read(options.json)))
    say(f"written: {options.out}")


def table(options: argparse.Namespace) -> None:
    """The tables again."""
    _print(markdown(_read(options.json)))


def _proxies(wanted: Sequence[str]) -> tuple[list[str], str]:
    """Those that can run here, and the sentence for the one that cannot."""
    if "go" not in wanted:
        return list(wanted), ""
    if gorelay.compiler() is None and not os.environ.get("CI"):
        return [each for each in wanted if each != "go"], "The peer go is left out: no Go on this machine."
    gorelay.build()
    return list(wanted), ""


def _require_tools(proxies: Sequence[str]) -> None:
    needed = TOOLS | {tool: package for proxy in proxies for tool, package in PEER_TOOLS.get(proxy, {}).items()}
    missing = sorted(package for tool, package in needed.items() if not (shutil.which(tool) or Path(tool).is_file()))
    if missing:
        raise BenchFailed(f"please install {', '.join(missing)}: apt-get install {' '.join(missing)}")


def _pace(options: argparse.Namespace) -> Pace:
    pace = QUICK if options.quick else FULL
    return replace(pace, repeats=options.repeats) if options.repeats else pace


def _names(wanted: str, known: Iterable[str]) -> list[str]:
    names = [each for each in wanted.split(",") if each]
    if unknown := sorted(set(names) - set(known)):
        raise BenchFailed(f"no such name: {', '.join(unknown)}; there are {', '.join(known)}")
    return [each for each in known if each in names or not names]


def _read(path: Path) -> Report:
    try:
        return parse_report(path.read_text())
    except FileNotFoundError as error:
        raise BenchFailed(f"{path} does not exist: run `python -m handfast_bench dataplane` first") from error


def _print(text: str) -> None:
    print(text)  # noqa: T201 - a command's own output


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m handfast_bench", description=__doc__)
    verbs = parser.add_subparsers(required=True)
    measure = verbs.add_parser("dataplane", help="measure")
    measure.add_argument("--quick", action="store_true", help="two minutes instead of ten")
    measure.add_argument("--out", type=Path, default=JSON)
    measure.add_argument("--only", default="", metavar="PROXY,...", help=f"of {', '.join(MAKERS)}")
    measure.add_argument("--cases", default="", metavar="CASE,...", help=f"of {', '.join(CASES)}")
    measure.add_argument("--repeats", type=int, default=0)
    measure.set_defaults(verb=dataplane)
    suites = verbs.add_parser("ciphers", help="what each cipher suite costs: two minutes")
    suites.add_argument("--repeats", type=int, default=5)
    suites.set_defaults(verb=ciphers)
    draw = verbs.add_parser("picture", help="an SVG of what was measured")
    draw.add_argument("--in", dest="json", type=Path, default=JSON)
    draw.add_argument("--out", type=Path, default=SVG)
    draw.set_defaults(verb=picture)
    show = verbs.add_parser("table", help="Markdown of what was measured")
    show.add_argument("--in", dest="json", type=Path, default=JSON)
    show.set_defaults(verb=table)
    return parser


def main() -> int:
    """The exit code."""
    options = _parser().parse_args()
    try:
        options.verb(options)
    except BenchFailed as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
