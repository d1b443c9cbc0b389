"""What must hold of the two sidecars once every connection is over. Pure: from scrapes to sentences."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from handfast_bench.namespaces import CLIENT
from handfast_bench.scrape import Scrape
from handfast_soak.memory import JUDGED_FROM_S, Growth

EXPECTED_ENDS: Final = frozenset({"drained", "renewed", "not_newer", "not_needed", "idle"})
"""Why tunnels of a healthy pair end. `lost`, `certificate_expired`, `peer_silent` or `protocol_error` is a bug here."""

THREADS: Final = min(32, (os.cpu_count() or 1) + 4) + 1
"""The loop's own and those of asyncio's pool, which makes one more for each call until it is full."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What a sidecar holds while nothing runs through it."""

    descriptors: int
    tasks: int
    threads: int


@dataclass(frozen=True, slots=True)
class SidecarFacts:
    """One sidecar at the end."""

    metrics: Scrape
    before: Rest
    after: Rest
    rss: Growth
    private: Growth
    complaints: tuple[str, ...]
    """Lines of its log that are errors."""


def carried(metrics: Scrape) -> tuple[int, int]:
    """Encrypted connections opened and closed."""
    name = "handfast_connections_{}_total"
    return (
        metrics.total(name.format("opened"), encrypted="true"),
        metrics.total(name.format("closed"), encrypted="true"),
    )


def faults(facts: Mapping[str, SidecarFacts], seconds: float, clean: int) -> Iterator[str]:
    """Everything that is not as it must be; `clean` connections ended cleanly."""
    for where, each in facts.items():
        for fault in _faults(each, seconds):
            yield f"the {where}'s sidecar: {fault}"
    opened, _closed = carried(facts[CLIENT].metrics)
    if opened < clean:
        yield f"{clean} connections ended cleanly and the client's sidecar carried {opened}: some went around it"


def _faults(each: SidecarFacts, seconds: float) -> Iterator[str]:
    metrics = each.metrics
    opened, closed = carried(metrics)
    if opened != closed:
        yield f"{opened} connections opened and {closed} closed"
    for name in (
        "handfast_denied_total",
        "handfast_handshake_failures_total",
        "handfast_identity_reload_failures_total",
    ):
        if count := metrics.total(name):
            yield f"{name} is {count}: {dict(metrics.by(name, 'reason'))}"
    if plaintext := metrics.total("handfast_connections_opened_total", encrypted="false"):
        yield f"{plaintext} connections went in plaintext"
    for reason, count in sorted(metrics.by("handfast_tunnels_closed_total", "reason").items()):
        if reason not in EXPECTED_ENDS:
            yield f"{count} tunnels ended by {reason}"
    for what, before, after in (
        ("descriptors", each.before.descriptors, each.after.descriptors),
        ("asyncio tasks", each.before.tasks, each.after.tasks),
    ):
        if after > before:
            yield f"{after} {what} at rest, {before} before the load"
    if each.after.threads > THREADS:
        yield f"{each.after.threads} threads: asyncio's pool has at most {THREADS - 1}"
    for what, growth in (("RSS", each.rss), ("private memory", each.private)):
        if seconds >= JUDGED_FROM_S and growth.too_much:
            yield f"{what} grew by {growth.grown} KiB after the first quarter, {growth.allowed} are allowed"
    yield from each.complaints
