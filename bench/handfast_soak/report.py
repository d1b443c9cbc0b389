"""What a soak says: a line now and then, and a summary. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from handfast_soak.conversation import Ended
from handfast_soak.ledger import Ledger
from handfast_soak.memory import JUDGED_FROM_S, KIB, PART, Growth
from handfast_soak.plan import Kind
from handfast_soak.run import Soak
from handfast_soak.verdict import SidecarFacts, carried

_MEGABYTE = 1e6


def progress(soak: Soak, at_s: float) -> str:
    """One line."""
    ledger = soak.ledger
    held = ", ".join(
        f"{where} {samples[-1].rss_kib / 1024:.1f} MiB {samples[-1].descriptors} fds"
        for where, samples in soak.samples.items()
        if samples
    )
    return (
        f"{at_s:5.0f} s  {ledger.connections} connections, {ledger.bytes_up / _MEGABYTE:.0f} MB up,"
        f" {ledger.bytes_down / _MEGABYTE:.0f} MB down, {soak.rotations} rotations,"
        f" {len(ledger.failures)} failures; {held}"
    )


def summary(soak: Soak, facts: Mapping[str, SidecarFacts], faults: Sequence[str]) -> str:
    """All of it; the last line is the verdict."""
    return "\n".join(
        (
            *_connections(soak.ledger),
            "",
            f"bytes checked: {soak.ledger.bytes_up:,} up, {soak.ledger.bytes_down:,} down",
            f"rotations of both leaves: {soak.rotations}, each for {soak.life_s:g} s",
            *([f"not counted: {soak.own.still_s:.0f} s in which the soak was stopped"] if soak.own.still_s else []),
            "",
            *(line for where, each in facts.items() for line in _sidecar(where, each)),
            *_memory(facts, soak.seconds),
            "",
            *(f"FAILURE {fault}" for fault in faults),
            f"failed: {len(faults)} faults, seed {soak.seed}" if faults else "passed",
        )
    )


def _connections(ledger: Ledger) -> Iterator[str]:
    yield f"{'connections':<14}{'clean':>9}{'aborted':>9}{'reset':>9}{'failed':>9}"
    for kind in Kind:
        counts = "".join(f"{ledger.ended[kind.word, ended]:>9}" for ended in Ended)
        yield f"{kind.word:<14}{counts}"
    totals = "".join(
        f"{sum(count for (_kind, how), count in ledger.ended.items() if how == ended):>9}" for ended in Ended
    )
    yield f"{'all':<14}{totals}"


def _sidecar(where: str, each: SidecarFacts) -> Iterator[str]:
    metrics = each.metrics
    opened, closed = carried(metrics)
    yield f"{where}'s sidecar"
    reasons = _counts(metrics.by("handfast_connections_closed_total", "reason"))
    yield f"  connections: {opened} opened, {closed} closed ({reasons})"
    yield (
        f"  tunnels: {metrics.total('handfast_tunnels_opened_total')} opened,"
        f" {metrics.total('handfast_tunnels_closed_total')} closed"
        f" ({_counts(metrics.by('handfast_tunnels_closed_total', 'reason'))});"
        f" identities reloaded: {metrics.total('handfast_identity_reloads_total')}"
    )
    for what, before, after in (
        ("descriptors", each.before.descriptors, each.after.descriptors),
        ("asyncio tasks", each.before.tasks, each.after.tasks),
        ("threads", each.before.threads, each.after.threads),
    ):
        yield f"  {what} at rest: {before} before, {after} after"


def _memory(facts: Mapping[str, SidecarFacts], seconds: float) -> Iterator[str]:
    yield ""
    quarters = "".join(f"{f'quarter {number}':>11}" for number in range(1, 5))
    yield f"{'MiB, medians':<18}{quarters}{'most':>8}{'grown':>8}"
    for where, each in facts.items():
        yield _growth(f"{where} RSS", each.rss)
        yield _growth(f"{where} private", each.private)
    if seconds >= JUDGED_FROM_S:
        yield f"from quarter 2 to 4 it may grow by {PART:.0%} or {KIB / 1024:.0f} MiB, whichever is larger"
    else:
        yield f"growth is judged in runs of at least {JUDGED_FROM_S:.0f} s"


def _growth(name: str, growth: Growth) -> str:
    quarters = "".join(f"{quarter / 1024:>11.1f}" for quarter in growth.quarters)
    return f"{name:<18}{quarters}{growth.most / 1024:>8.1f}{growth.grown / 1024:>+8.1f}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'none'} {count}" for name, count in sorted(counts.items())) or "none"
