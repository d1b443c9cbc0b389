"""docs/reasons.md: every reason word, with the sentences that are said with it, from the calls that say them. Pure.

The tables of docs/reference.md and docs/certificates.md say what to do; this page says that none is missing.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from pages.reading import Module, constants, modules, sentence, word
from pages.tables import cell, code, table

_SNAKE: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LIMITS: Final = ("CONNECTIONS", "RATE", "CLIENT_CONNECTIONS", "CLIENT_RATE", "HANDSHAKES")
_CAMEL: Final = re.compile(r"(?!Normal$|Warning$)([A-Z][a-z0-9]*)+")
"""But the types of Events."""


@dataclass(frozen=True)
class Chapter:
    """Words that are said in one place."""

    title: str
    opening: str
    calls: Mapping[str, int]
    """Where the word stands in a call of this name; before its sentence, where that stands there too."""
    within: str = "handfast_"
    """Modules whose names begin so."""
    enums: tuple[str, ...] = ()
    """Classes whose members are words, with the string below each as its sentence."""
    dictionaries: tuple[str, ...] = ()
    """`module.NAME` of dictionaries from words to sentences."""
    tuples: tuple[str, ...] = ()
    """`module.NAME` of tuples of (what is looked for, word, sentence)."""
    constants: tuple[str, ...] = ()
    """`module.NAME` of words with the string below each as its sentence."""
    pairs: tuple[str, ...] = ()
    """Modules in which a tuple of a word and a sentence is one."""
    form: re.Pattern[str] = _SNAKE


HEAD: Final = """# Every reason

Made by `make reference` from the source, and compared with it by a test: each word that stands as `reason` in a log, a
metric, a condition or an Event, with the sentences that are said with it. `<name>` is filled in. What to do about the
common ones stands [in the reference](reference.md#why-a-connection-was-refused) and
[with the certificates](certificates.md#why-a-peers-certificate-is-refused).
A word without a sentence is said with one that is put together elsewhere, or by OpenSSL.

"""
CHAPTERS: Final = (
    Chapter(
        "Connections",
        "`reason` of the access log and of `handfast_denied_total`.",
        {"Refuse": 0, "_refused": 2, "Verdict": 2, "Explanation": 0},
        within="handfast_sidecar.",
        enums=("handfast_sidecar.tunnel.reasons.Reason",),
        constants=(
            *(f"handfast_sidecar.policy.limiter.{name}" for name in _LIMITS),
            "handfast_sidecar.traffic.permission.UNKNOWN",
            "handfast_sidecar.traffic.permission.PLAINTEXT",
            "handfast_sidecar.traffic.live.POLICY_CHANGED",
            "handfast_sidecar.identity.standing.ROOT_RETIRED",
            "handfast_sidecar.identity.standing.REVOKED",
        ),
    ),
    Chapter(
        "Handshakes and certificates",
        "`reason` of `handfast_handshake_failures_total` and of `handfast_identity_reload_failures_total`; with"
        " `handshake_` before it, of a refused connection.",
        {"HandshakeFailed": 0, "BadCertificate": 0},
        dictionaries=("handfast_sidecar.identity.verification._SENTENCES",),
        tuples=("handfast_sidecar.tunnel.tls._REASONS",),
    ),
    Chapter(
        "Streams of the directory",
        "`reason` of `handfast_directory_refused_total` and `handfast_directory_sessions_ended_total` at the directory,"
        " of `handfast_directory_reconnects_total` at a sidecar, of `handfast_evidence_lost_total` in the controller.",
        {"SessionEnded": 0, "StreamEnded": 0, "EvidenceLost": 0},
    ),
    Chapter(
        "Leaves that are not issued",
        "`reason` of `handfast_leaf_issue_failures_total`; the sentence is the note of the Event `IdentityRefused`.",
        {"Refuse": 0},
        within="handfast_operator.",
    ),
    Chapter(
        "External issuers",
        "`reason` of `handfast_issuer_refused`; in CamelCase, of the condition `IssuerAccepted`.",
        {"IssuerRefused": 0},
    ),
    Chapter(
        "Whom a rotation waits for",
        "`status.rotation.stragglers[].reason` of a TrustDomain.",
        {},
        enums=("handfast_operator.authority.gates.StragglerReason",),
    ),
    Chapter(
        "Conditions",
        "`status.conditions[].reason` of all kinds.",
        {"Condition": 2, "_in_vain": 0},
        form=_CAMEL,
    ),
    Chapter(
        "Policies that look like a mistake",
        "`reason` of the condition `Doubtful`; the gravest first stand"
        " [with tenancy](tenancy.md#policies-that-look-like-a-mistake).",
        {"Doubt": 0},
        form=_CAMEL,
    ),
    Chapter(
        "Events",
        "`kubectl get events --field-selector=reason=...`; those of access requests and of expiry stand"
        " [in the reference](reference.md#events).",
        {"_say": 1, "_event": 2, "_warn": 0},
        pairs=("handfast_operator.controller.reports", "handfast_operator.controller.rotation_news"),
        form=_CAMEL,
    ),
)


def render() -> str:
    """The page."""
    return HEAD + "\n".join(
        f"## {each.title}\n\n{each.opening}\n\n"
        + table(
            ("reason", "what is said"),
            (
                (code(name), "<br>".join(map(cell, said)))
                for name, said in sorted(words(each).items(), key=lambda found: found[0])
            ),
        )
        for each in CHAPTERS
    )


def words(chapter: Chapter) -> dict[str, list[str]]:
    """Sentences by word."""
    found: dict[str, list[str]] = {}
    for module in modules():
        if not module.name.startswith(chapter.within):
            continue
        for name, said in (*_called(chapter, module), *_enumerated(chapter, module), *_written(chapter, module)):
            if chapter.form.fullmatch(name):
                sentences = found.setdefault(name, [])
                if said and said not in sentences:
                    sentences.append(said)
    return found


def _called(chapter: Chapter, module: Module) -> Iterator[tuple[str, str]]:
    for name, at in chapter.calls.items():
        for args in module.calls.get(name, ()):
            yield from _said(chapter, module, args, at)
    if module.name in chapter.pairs:
        for first, second in module.calls.get("", ()):
            if sentence(second):
                yield from _said(chapter, module, [first, second], 0)


def _said(chapter: Chapter, module: Module, args: list[ast.expr], at: int) -> Iterator[tuple[str, str]]:
    for first, second in pairwise(args):
        name = word(module, first)
        if name and chapter.form.fullmatch(name) and " " in sentence(second):
            yield name, sentence(second)
            return
    if len(args) > at and (name := word(module, args[at])):
        yield name, ""


def _enumerated(chapter: Chapter, module: Module) -> Iterator[tuple[str, str]]:
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef) and f"{module.name}.{node.name}" in chapter.enums:
            for each, after in pairwise(node.body):
                match each, after:
                    case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(said))):
                        yield name.lower(), said
                    case _:
                        pass


def _written(chapter: Chapter, module: Module) -> Iterator[tuple[str, str]]:
    for each in constants(module):
        if f"{module.name}.{each.name}" in chapter.constants:
            yield str(each.value), each.meaning
    for node in module.tree.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Dict(keys=keys, values=values)) if (
                f"{module.name}.{name}" in chapter.dictionaries
            ):
                for key, value in zip(keys, values, strict=True):
                    if isinstance(key, ast.Constant):
                        yield str(key.value), f"the certificate {sentence(value)}"
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Tuple(elts=rows)) if (
                f"{module.name}.{name}" in chapter.tuples
            ):
                for row in rows:
                    if isinstance(row, ast.Tuple):
                        yield word(module, row.elts[1]) or "", sentence(row.elts[2])
            case _:
                pass
