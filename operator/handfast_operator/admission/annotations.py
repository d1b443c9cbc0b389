"""What a pod's owner wishes of its sidecar, read from the pod's annotations. Pure.

The one rule: what cannot be read, or cannot be had together, is refused with a sentence; a pod never starts with a wish
that was dropped in silence.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from handfast_sidecar.config.ports import MAX_ENTRIES, PortRange, merge, parse_few_ports, parse_ports
from handfast_sidecar.config.skips import NOTHING, OUTBOUND_RESERVED, Skips, parse_cidrs
from handfast_sidecar.config.upstreams import Upstream, dump_upstreams, parse_upstreams
from handfast_sidecar.errors import BadInput
from handfast_sidecar.wellknown import (
    ANNOTATION_INTERCEPTION,
    ANNOTATION_PROXY_PROTOCOL_PORTS,
    ANNOTATION_SKIP_INBOUND_PORTS,
    ANNOTATION_SKIP_OUTBOUND_CIDRS,
    ANNOTATION_SKIP_OUTBOUND_PORTS,
    ANNOTATION_UPSTREAMS,
    ENV_INTERCEPTION,
    ENV_LOOPBACK_PORTS,
    ENV_PROXY_PROTOCOL_PORTS,
    ENV_UPSTREAMS,
    INTERCEPTION_NONE,
    INTERCEPTION_REDIRECT,
)

Raw = Mapping[str, Any]
T = TypeVar("T")
SKIPS: Final = (ANNOTATION_SKIP_INBOUND_PORTS, ANNOTATION_SKIP_OUTBOUND_PORTS, ANNOTATION_SKIP_OUTBOUND_CIDRS)


class UnusableAnnotation(ValueError):
    """An annotation that cannot be followed; the message names it, the wrong part, and what is expected."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """Of one pod."""

    redirected: bool = True
    """Whether nft brings its traffic to the proxy; else it is in explicit mode."""
    skips: Skips = NOTHING
    loopback_ports: tuple[PortRange, ...] = ()
    """In explicit mode, those that its containers declare: peers may reach them on loopback."""
    upstreams: tuple[Upstream, ...] = ()
    proxy_protocol_ports: frozenset[int] = frozenset()

    def of_init(self) -> dict[str, str]:
        """The init container's variables."""
        return self.skips.dump()

    def of_proxy(self) -> dict[str, str]:
        """The proxy's variables."""
        variables = {} if self.redirected else {ENV_INTERCEPTION: INTERCEPTION_NONE}
        if self.loopback_ports:
            variables[ENV_LOOPBACK_PORTS] = ",".join(map(str, self.loopback_ports))
        if self.upstreams:
            variables[ENV_UPSTREAMS] = dump_upstreams(self.upstreams)
        if self.proxy_protocol_ports:
            variables[ENV_PROXY_PROTOCOL_PORTS] = ",".join(map(str, sorted(self.proxy_protocol_ports)))
        return variables


def read_annotations(annotations: Mapping[str, str], applications: Iterable[Raw]) -> Wishes:
    """`applications`: the pod's containers but ours, whose ports are theirs. Raises UnusableAnnotation."""
    redirected = _redirected(annotations.get(ANNOTATION_INTERCEPTION, INTERCEPTION_REDIRECT))
    skips = Skips(
        _read(annotations, ANNOTATION_SKIP_INBOUND_PORTS, parse_ports),
        _read(annotations, ANNOTATION_SKIP_OUTBOUND_PORTS, lambda text: parse_ports(text, OUTBOUND_RESERVED)),
        _read(annotations, ANNOTATION_SKIP_OUTBOUND_CIDRS, parse_cidrs),
    )
    if not redirected and skips != NOTHING:
        lists = (skips.inbound_ports, skips.outbound_ports, skips.outbound_cidrs)
        named = next(name for name, entries in zip(SKIPS, lists, strict=True) if entries)
        raise UnusableAnnotation(
            f"it has the annotation {named}, and {ANNOTATION_INTERCEPTION}: {INTERCEPTION_NONE}, where nothing is "
            "redirected that could be skipped: remove one of them"
        )
    upstreams = _read(annotations, ANNOTATION_UPSTREAMS, parse_upstreams)
    declared = {port: container for container in applications for port in _declared(container)}
    for upstream in upstreams:
        _check(upstream, declared)
    loopback = () if redirected else merge(PortRange(port, port) for port in declared)
    if len(loopback) > MAX_ENTRIES:
        raise UnusableAnnotation(
            f"its annotation {ANNOTATION_INTERCEPTION} is {INTERCEPTION_NONE!r}, and its containers declare ports in "
            f"{len(loopback)} places, more than {MAX_ENTRIES}: declare those that peers dial"
        )
    return Wishes(
        redirected, skips, loopback, upstreams, _read(annotations, ANNOTATION_PROXY_PROTOCOL_PORTS, parse_few_ports)
    )


def _check(upstream: Upstream, declared: Mapping[int, Raw]) -> None:
    holder = declared.get(upstream.local_port)
    if holder is not None:
        raise UnusableAnnotation(
            f"its annotation {ANNOTATION_UPSTREAMS} has {str(upstream)!r}, but port {upstream.local_port} is declared "
            f"by the container {holder.get('name')!r}: choose another local port"
        )


def _redirected(word: str) -> bool:
    if word not in (INTERCEPTION_NONE, INTERCEPTION_REDIRECT):
        raise UnusableAnnotation(
            f"its annotation {ANNOTATION_INTERCEPTION} is {word!r}: expected {INTERCEPTION_REDIRECT!r}, or "
            f"{INTERCEPTION_NONE!r} for explicit mode"
        )
    return word == INTERCEPTION_REDIRECT


def _read(annotations: Mapping[str, str], name: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(annotations.get(name, ""))
    except BadInput as error:
        raise UnusableAnnotation(f"its annotation {name} cannot be used: {error}") from error


def _declared(container: Raw) -> Iterable[int]:
    return [each["containerPort"] for each in container.get("ports") or () if each.get("protocol") in (None, "", "TCP")]
