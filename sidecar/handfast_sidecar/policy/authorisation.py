"""Who may connect, and by which rule: `deny` beats `allow`. Pure.

Compiled once for each policy, so that a decision costs a few lookups however many rules there are: a rule is found by
the port, then by the whole name of the peer or by its beginnings. Rules that end are kept apart, by their end: who has
none reads no clock, and one that has ended lets nobody in, whether or not anybody has said so.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from handfast_sidecar.config.ports import is_port
from handfast_sidecar.errors import BadInput
from handfast_sidecar.identity.spiffe import MAX_BYTES, SpiffeId
from handfast_sidecar.policy.principals import Principal, beginnings

MAX_RULES: Final = 10_000
"""Rules of a pod, of all its policies together."""
MAX_UNTIL: Final = 253_402_300_800
"""The end of the year 9999, in Unix seconds: past it a number is a mistake and no time."""
WallClock = Callable[[], float]
"""Unix seconds: what tells whether a rule has ended."""
_SHA256_DIGITS: Final = 64


@dataclass(frozen=True, slots=True)
class Source:
    """Who is meant: all that is said must hold."""

    principal: Principal | None = None
    """None: every identity."""
    spki: str = ""
    """SHA-256 of the leaf's SubjectPublicKeyInfo in hexadecimal digits (RFC 7469 2.4 has it in Base64); none: any."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of `allow` or `deny`, and the object that it is from."""

    origin: str
    sources: tuple[Source, ...] | None = None
    """None: everybody. Empty: nobody."""
    ports: frozenset[int] | None = None
    """None: every port. Empty: none."""
    until: int | None = None
    """Unix seconds from which on it means nobody; None: it does not end."""


_EVERYBODY: Final = Source()


@dataclass(slots=True)
class _Names:
    """The rules that hold for one port: their origin by what they match."""

    exact: dict[str, str] = field(default_factory=dict)
    below: dict[str, str] = field(default_factory=dict)
    everybody: str = ""
    keys: dict[str, "_Names"] = field(default_factory=dict)
    """By the key that is asked for as well."""

    def add(self, principal: Principal | None, spki: str, origin: str) -> None:
        """The first rule that matches is the one that is named."""
        if spki:
            self.keys.setdefault(spki, _Names()).add(principal, "", origin)
        elif principal is None:
            self.everybody = self.everybody or origin
        elif principal.below:
            self.below.setdefault(principal.text, origin)
        else:
            self.exact.setdefault(principal.text, origin)

    def origin_for(self, name: str, starts: Sequence[str], spki: str) -> str:
        """The origin of a rule that means the peer of this name; none: "", as no object has an empty name."""
        found = self.everybody or self.exact.get(name)
        if found:
            return found
        if self.below:
            for text in starts:
                if text in self.below:
                    return self.below[text]
        pinned = self.keys.get(spki) if self.keys else None
        return pinned.origin_for(name, starts, "") if pinned is not None else ""


class RuleSet:
    """The entries of one kind, `allow` or `deny`, ready to be asked."""

    __slots__ = ("_elsewhere", "_ending", "_ports", "_shallowest", "rules")

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        everywhere = _Names()
        at: dict[int, _Names] = {}
        ends: dict[int, list[Rule]] = {}
        depths: list[int] = []
        for rule in rules:
            if rule.until is not None:
                ends.setdefault(rule.until, []).append(replace(rule, until=None))
                continue
            for source in (_EVERYBODY,) if rule.sources is None else rule.sources:
                if source.principal is not None and source.principal.below:
                    depths.append(source.principal.text.count("/"))
                if rule.ports is None:
                    everywhere.add(source.principal, source.spki, rule.origin)
                else:
                    for port in rule.ports:
                        at.setdefault(port, _Names()).add(source.principal, source.spki, rule.origin)
        self._elsewhere: tuple[_Names, ...] = () if everywhere == _Names() else (everywhere,)
        """What holds for the ports that no rule names."""
        self._ports: dict[int, tuple[_Names, ...]] = {port: (*self._elsewhere, names) for port, names in at.items()}
        self._shallowest = min(depths, default=MAX_BYTES)
        """Slashes of the widest pattern: no shorter beginning of a name need be looked for."""
        self._ending = tuple((until, RuleSet(ends[until])) for until in sorted(ends, reverse=True))
        """The last end first: a search stops at the first one that is past."""

    def origin_for(self, peer: SpiffeId, port: int, spki: str = "", clock: WallClock = time.time) -> str:
        """The object whose rule means this peer at this port now; none: ""."""
        tables = self._ports.get(port, self._elsewhere)
        if tables:
            name = str(peer)
            starts = beginnings(name, self._shallowest)
            for names in tables:
                found = names.origin_for(name, starts, spki)
                if found:
                    return found
        return self._ending_origin(peer, port, spki, clock()) if self._ending else ""

    def origin_for_all(self, port: int) -> str:
        """The object whose rule means everybody at this port, who has no identity too; none: ""."""
        for names in self._ports.get(port, self._elsewhere):
            if names.everybody:
                return names.everybody
        return ""

    def next_end(self, now: float) -> int | None:
        """When the first of the rules that have not ended does; in Unix seconds, None: never."""
        return min((until for until, _rules in self._ending if until > now), default=None)

    def _ending_origin(self, peer: SpiffeId, port: int, spki: str, now: float) -> str:
        for until, rules in self._ending:
            if until <= now:
                break
            found = rules.origin_for(peer, port, spki)
            if found:
                return found
        return ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RuleSet) and self.rules == other.rules

    def __hash__(self) -> int:
        return hash(self.rules)

    def to_json(self) -> list[dict[str, Any]]:
        """As in config.json (docs/protocol.md, "policy")."""
        return [_rule_to_json(each) for each in self.rules]

    @classmethod
    def from_json(cls, document: Any, where: str, *, may_end: bool = False) -> "RuleSet":
        """Read what `to_json` wrote; raises BadInput: a rule that cannot be read must not be passed over.

        `may_end`: whether rules may carry `until`; of those that deny none does.
        """
        if not isinstance(document, list) or len(document) > MAX_RULES:
            raise BadInput(f"{where}: expected a list of at most {MAX_RULES} rules")
        rules = [_rule_from_json(each, f"{where}[{number}]") for number, each in enumerate(document)]
        if not may_end and any(each.until is not None for each in rules):
            raise BadInput(f"{where}: a rule that denies does not end")
        return cls(rules)


def _rule_to_json(rule: Rule) -> dict[str, Any]:
    document: dict[str, Any] = {"rule": rule.origin}
    if rule.sources is not None:
        document["from"] = [
            ({"principal": str(each.principal)} if each.principal is not None else {})
            | ({"spkiSHA256": each.spki} if each.spki else {})
            for each in rule.sources
        ]
    if rule.ports is not None:
        document["ports"] = sorted(rule.ports)
    if rule.until is not None:
        document["until"] = rule.until
    return document


def _rule_from_json(document: Any, where: str) -> Rule:
    if not isinstance(document, dict) or not isinstance(document.get("rule"), str) or not document["rule"]:
        raise BadInput(f"{where}: expected an object with the name of its policy as `rule`")
    sources, ports = document.get("from"), document.get("ports")
    if not isinstance(sources, list | None) or not isinstance(ports, list | None):
        raise BadInput(f"{where}: `from` and `ports` are lists")
    return Rule(
        document["rule"],
        None if sources is None else tuple(_source(each, f"{where}.from[{n}]") for n, each in enumerate(sources)),
        None if ports is None else frozenset(_port(each, where) for each in ports),
        _until(document["until"], where) if "until" in document else None,
    )


def _source(document: Any, where: str) -> Source:
    if not isinstance(document, dict) or not set(document) <= {"principal", "spkiSHA256"} or not document:
        raise BadInput(f"{where}: expected `principal`, `spkiSHA256`, or both, and nothing else")
    principal, spki = document.get("principal"), document.get("spkiSHA256", "")
    if not isinstance(principal, str | None) or not isinstance(spki, str):
        raise BadInput(f"{where}: `principal` and `spkiSHA256` are strings")
    if spki and not (len(spki) == _SHA256_DIGITS and set(spki) <= set("0123456789abcdef")):
        raise BadInput(f"{where}.spkiSHA256: expected {_SHA256_DIGITS} hexadecimal digits, lower case")
    return Source(None if principal is None else Principal.parse(principal), spki)


def _port(value: Any, where: str) -> int:
    if not is_port(value):
        raise BadInput(f"{where}.ports: {value!r} is no port number")
    return value


def _until(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MAX_UNTIL:
        raise BadInput(f"{where}.until: {value!r} is no time in Unix seconds")
    return value
