"""Whom a rule means: one SPIFFE ID, or all below a path. Pure.

`*` stands for one or more whole segments and only at the end, as in `spiffe://cluster.local/ns/shop/sa/*`: a pattern
in the middle of a name is how a rule comes to mean more than its author thought.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from handfast_sidecar.errors import BadInput, BadSpiffeId
from handfast_sidecar.identity.spiffe import SCHEME, SpiffeId, check_trust_domain

ANY_BELOW: Final = "*"


@dataclass(frozen=True, slots=True, order=True)
class Principal:
    """A SPIFFE ID, or with `below` the beginning of many, its last slash included."""

    text: str
    below: bool = False

    @classmethod
    def parse(cls, text: str) -> "Principal":
        """Read `spiffe://DOMAIN/PATH` or `spiffe://DOMAIN/PATH/*`; raises BadInput with what is wrong."""
        try:
            if not text.endswith(f"/{ANY_BELOW}"):
                return cls(str(SpiffeId.parse(text)))
            start = text.removesuffix(ANY_BELOW)
            if start.removeprefix(SCHEME).count("/") == 1:
                if not start.startswith(SCHEME):
                    raise BadSpiffeId(f"{text!r} does not start with {SCHEME!r}")
                check_trust_domain(start[len(SCHEME) : -1])
            else:
                SpiffeId.parse(start[:-1])
        except BadSpiffeId as error:
            raise BadInput(f"{error}; {ANY_BELOW!r} may stand for the last segments only, as in .../sa/*") from error
        return cls(start, below=True)

    def matches(self, peer: SpiffeId) -> bool:
        """Whether it means this peer."""
        name = str(peer)
        return name.startswith(self.text) if self.below else name == self.text

    def __str__(self) -> str:
        return self.text + (ANY_BELOW if self.below else "")


def beginnings(name: str, slashes: int) -> Sequence[str]:
    """Each `text` of at least so many slashes, three or more, with which a pattern can mean the SPIFFE ID of this name;
    the narrowest first."""
    more = name.count("/") - slashes
    if more < 0:
        return ()
    end = name.rfind("/")
    found = [name[: end + 1]]
    while more:
        end = name.rfind("/", 0, end)
        found.append(name[: end + 1])
        more -= 1
    return found
