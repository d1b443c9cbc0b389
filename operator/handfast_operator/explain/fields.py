"""What holds for a pod, field by field with the object that says so; and what each policy of its chain contributes.

Read from the compiled policy as it goes to the sidecar, so that a field that is new there is shown here by itself.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from handfast_operator.policy.compile import CompiledPolicy
from handfast_operator.resources.durations import format_duration
from handfast_operator.resources.policies import Policy
from handfast_sidecar.policy.effective import DEFAULT_ORIGIN, ENFORCED

Raw = Mapping[str, Any]
_SELECTORS: Final = frozenset({"selector", "namespaceSelector"})
_ORIGIN: Final = "from"
"""Where a compiled value names its object; `rule` where it is a rule."""


@dataclass(frozen=True, slots=True)
class Field:
    """One decided value."""

    name: str
    """As in a policy's spec: `mode`, `ports[9090]`, `allow[0]`, `certificate.ttl`."""
    value: Any
    """JSON."""
    text: str
    origin: str
    """`default` where nobody says it."""

    def to_json(self) -> dict[str, Any]:
        return {"field": self.name, "value": self.value, "from": self.origin}


@dataclass(frozen=True, slots=True)
class Said:
    """What one policy says in one field, and what becomes of it."""

    field: str
    value: Any
    effect: str
    """`decides`, `adds` (to what others say), or `overruled`."""
    by: str = ""
    """Whom it is overruled by."""

    def to_json(self) -> dict[str, Any]:
        return {"field": self.field, "value": self.value, "effect": self.effect} | ({"by": self.by} if self.by else {})


@dataclass(frozen=True, slots=True)
class Link:
    """One policy of a pod's chain."""

    origin: str
    level: str
    """`workload`, `namespace` or `cluster`."""
    said: tuple[Said, ...]

    def to_json(self) -> dict[str, Any]:
        return {"policy": self.origin, "level": self.level, "says": [each.to_json() for each in self.said]}


def fields(compiled: CompiledPolicy, trust_domain: str) -> list[Field]:
    """Every field with its origin, those that nobody set included."""
    document = compiled.policy.to_json()
    found = [Field("mode", document["mode"], document["mode"], document[_ORIGIN])]
    rest = {name: value for name, value in document.items() if name not in ("mode", _ORIGIN)}
    for name, unset in _unset(trust_domain).items():
        value = rest.pop(name, None)
        found += list(_flat(name, value)) if value else [Field(name, None, unset, DEFAULT_ORIGIN)]
    for name, value in rest.items():
        found += _flat(name, value)
    ttl = format_duration(compiled.ttl)
    return [*found, Field("certificate.ttl", ttl, ttl, compiled.ttl_origin)]


def links(chain: Iterable[Policy], specs: Mapping[str, Raw], decided: Sequence[Field]) -> list[Link]:
    """The chain, the strongest first; `specs`: as the policies are written, by origin."""
    stronger: dict[str, str] = {}
    found = []
    for policy in chain:
        said = []
        for name, value in _spoken(specs.get(policy.origin, {}), decided):
            said.append(_judged(name, value, policy.origin, decided, stronger))
            stronger.setdefault(name, policy.origin)
        found.append(Link(policy.origin, policy.level, tuple(said)))
    return found


def rule_text(rule: Raw) -> str:
    """An entry of `allow` or `deny` in words."""
    sources = rule.get(_ORIGIN)
    who = "everybody" if sources is None else ", ".join(map(_source_text, sources)) or "nobody"
    ports = rule.get("ports")
    return who if ports is None else f"{who} on port {', '.join(map(str, ports)) or 'none'}"


def _source_text(source: Raw) -> str:
    key = f"key {source['spkiSHA256'][:12]}..." if "spkiSHA256" in source else ""
    return " with ".join(filter(None, (source.get("principal", "" if key else "everybody"), key)))


def _unset(trust_domain: str) -> dict[str, str]:
    """Fields that a sidecar always acts on, and what holds while no policy speaks of them."""
    return {
        "ports": "none differs",
        "allow": f"every identity of {trust_domain}",
        "deny": "nobody",
        "enforcement": ENFORCED.enforcement.value,
        "foreign": "no port",
    }


def _flat(name: str, value: Any) -> Iterator[Field]:
    """A compiled value as fields: down to whatever has an origin of its own."""
    if isinstance(value, list) and value and all(isinstance(each, dict) and "rule" in each for each in value):
        for number, rule in enumerate(value):
            plain = {key: each for key, each in rule.items() if key != "rule"}
            yield Field(f"{name}[{number}]", plain, rule_text(rule), rule["rule"])
    elif isinstance(value, dict) and isinstance(value.get(_ORIGIN), str):
        plain = {key: each for key, each in value.items() if key not in (_ORIGIN, "rules")}
        if "rules" in value:
            yield Field(name, None, "only those listed" if value["rules"] else "nobody", value[_ORIGIN])
            yield from _flat(name, value["rules"]) if value["rules"] else ()
        else:
            single = next(iter(plain.values())) if len(plain) == 1 else plain
            yield Field(name, single, _text(single), value[_ORIGIN])
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(f"{name}[{key}]" if key.isdecimal() else f"{name}.{key}", each)
    else:
        yield Field(name, value, _text(value), "")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    return json.dumps(value)


def _spoken(spec: Raw, decided: Sequence[Field]) -> Iterator[tuple[str, Any]]:
    """What a policy says, each by the name that the decided field has."""
    for name, value in spec.items():
        if name == "ports":
            for each in value or ():
                yield f"ports[{each.get('port')}]", each.get("mode")
        elif name not in _SELECTORS and value is not None:
            yield from _parts(name, value, decided)


def _parts(name: str, value: Any, decided: Sequence[Field]) -> Iterator[tuple[str, Any]]:
    """A value as a whole, or part by part where the parts are decided each by itself."""
    if isinstance(value, dict) and any(each.name.startswith(f"{name}.") for each in decided):
        for key, each in value.items():
            yield from _parts(f"{name}.{key}", each, decided)
    else:
        yield name, value


def _judged(name: str, value: Any, origin: str, decided: Sequence[Field], stronger: Mapping[str, str]) -> Said:
    concerned = [each for each in decided if each.name == name or each.name.startswith((f"{name}.", f"{name}["))]
    origins = [each.origin for each in concerned if each.origin not in ("", DEFAULT_ORIGIN)]
    if origin in origins:
        return Said(name, value, "adds" if name == "deny" else "decides")
    # What it says may be as good as nothing, such as an empty list, and then the compiled policy does not name it.
    overruler = next(iter(origins), "") or stronger.get(name, "")
    return Said(name, value, "overruled", overruler) if overruler else Said(name, value, "decides")
