"""SPIFFE IDs: parsed once at the border, compared as values afterwards.

`SpiffeId.parse` and `str` are exact inverses: an identity that could be written in two ways is refused, because
two spellings of one name are how authorisation is walked around.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from handfast_sidecar.errors import BadSpiffeId

SCHEME: Final = "spiffe://"
MAX_BYTES: Final = 2048
"""SPIFFE-ID, section 2.3."""
_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, order=True)
class SpiffeId:
    """A workload's name: its trust domain and a path that is never the root."""

    trust_domain: str
    path: str
    """With its leading slash: `/ns/shop/sa/cart`."""
    _text: str = field(init=False, repr=False, compare=False)
    """Put together once: it is asked for at every connection."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_text", f"{SCHEME}{self.trust_domain}{self.path}")

    @classmethod
    def parse(cls, uri: str) -> "SpiffeId":
        """Read a SPIFFE ID, or raise BadSpiffeId with the part that is wrong (SPIFFE-ID, section 2)."""
        if len(uri.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            raise BadSpiffeId(f"a SPIFFE ID has at most {MAX_BYTES} bytes, this one has {len(uri)} characters")
        if not uri.startswith(SCHEME):
            raise BadSpiffeId(f"{uri!r} does not start with {SCHEME!r}")
        trust_domain, slash, path = uri[len(SCHEME) :].partition("/")
        check_trust_domain(trust_domain)
        if not slash:
            raise BadSpiffeId(f"{uri!r} names a trust domain, not a workload: it has no path")
        for segment in path.split("/"):
            if segment in {"", ".", ".."} or not _SEGMENT.fullmatch(segment):
                raise BadSpiffeId(
                    f"{uri!r} has the path segment {segment!r}: only letters, digits, '.', '-', '_' are allowed"
                )
        return cls(trust_domain, f"/{path}")

    @classmethod
    def of_service_account(cls, trust_domain: str, namespace: str, service_account: str) -> "SpiffeId":
        """The identity of every pod that runs under this service account."""
        return cls.parse(f"{SCHEME}{trust_domain}/ns/{namespace}/sa/{service_account}")

    def __str__(self) -> str:
        return self._text


def check_trust_domain(name: str) -> str:
    """Return the name when it is a SPIFFE trust domain, else raise BadSpiffeId (SPIFFE-ID, section 2.1)."""
    if not _TRUST_DOMAIN.fullmatch(name):
        raise BadSpiffeId(f"{name!r} is no trust domain: 1 to 255 lower-case letters, digits, '.', '-' or '_'")
    return name
