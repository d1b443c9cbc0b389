"""What a tunnel rests on: the leaves that both sides showed last, on it or on one that took over from it. Pure.

While it rests on a leaf, the root that vouches for the leaf is needed: that is what a rotation of the root waits for.
"""

from dataclasses import dataclass
from datetime import datetime

from handfast_sidecar.identity.proof import Proof
from handfast_sidecar.tunnel import renewal


@dataclass(frozen=True, slots=True)
class Footing:
    """The proofs of both sides."""

    own: Proof
    peer: Proof

    @property
    def expires(self) -> datetime:
        """When the first of both leaves does."""
        return renewal.expiry(self.own.leaf.not_after, self.peer.leaf.not_after)

    @property
    def issuers(self) -> tuple[str, str]:
        """Whose signatures it needs, as `Leaf.issuer` spells them: our side's first."""
        return self.own.leaf.issuer, self.peer.leaf.issuer

    def replaces(self, older: "Footing") -> bool:
        """Whether a tunnel gains by resting on this: it lasts longer, or an issuer is no longer needed for it."""
        return self.expires > older.expires or self.issuers != older.issuers
