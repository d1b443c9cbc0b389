"""Who may be let in, and stay: what a handshake has proven, held against what is trusted now.

A handshake is checked by OpenSSL once, with the bundle of that moment. The one rule: what lives is held against the
same things again whenever one of them changes, so that nothing outlives the trust that it was let in by.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from handfast_sidecar.errors import HandshakeFailed
from handfast_sidecar.identity.proof import Proof
from handfast_sidecar.identity.revocation import Revocation, Revocations

if TYPE_CHECKING:
    from handfast_sidecar.identity.reload import Identity

ROOT_RETIRED: Final = "root_retired"
"""The reason of what ended because a root that vouched for it left the bundle."""
REVOKED: Final = "revoked"
"""The reason of what was refused, or ended, because its identity or its certificate is revoked."""
OBJECTIONS: Final = frozenset({ROOT_RETIRED, REVOKED})


@dataclass(frozen=True, slots=True)
class Objection:
    """Why somebody may not be here."""

    reason: str
    """A stable word, the metric's label."""
    sentence: str


class Standing:
    """What is trusted now."""

    def __init__(self, identity: Callable[[], "Identity"], clock: Callable[[], float] = time.time) -> None:
        """`clock` is Unix time."""
        self._identity = identity
        self._clock = clock
        self.revoked = Revocations()

    def offer(self, revoked: Revocations) -> bool:
        """Take a list unless it is older than what is in force; says whether anybody else is revoked now."""
        if revoked.revision < self.revoked.revision:
            return False
        changed = revoked.entries != self.revoked.entries
        self.revoked = revoked
        return changed

    def own_revocation(self) -> Revocation | None:
        """What revokes ourselves: our peers refuse us then, whatever we do."""
        leaf = self._identity().leaf
        return self.revoked.of(leaf.spiffe_id, leaf.serial, self._clock())

    def check(self, peer: Proof, own: Proof) -> None:
        """Refuse a peer, or what it was shown of us, at the end of a handshake. Raises HandshakeFailed."""
        objection = self.objection(peer, own)
        if objection is not None:
            raise HandshakeFailed(objection.reason, objection.sentence)

    def objection(self, peer: Proof, own: Proof) -> Objection | None:
        """What there is against a peer, or against what it was shown of us; None: nothing."""
        anchors = self._identity().material.anchors
        if peer.root not in anchors:
            return Objection(
                ROOT_RETIRED,
                f"the root that vouches for the certificate of {peer.leaf.spiffe_id} (serial {peer.leaf.serial}) has"
                " left the trust domain's bundle: the peer needs a leaf of the new root",
            )
        if own.root not in anchors:
            return Objection(
                ROOT_RETIRED,
                f"the root that vouches for our own certificate (serial {own.leaf.serial}), which {peer.leaf.spiffe_id}"
                " was shown, has left the trust domain's bundle",
            )
        revocation = self.revoked.of(peer.leaf.spiffe_id, peer.leaf.serial, self._clock())
        return Objection(REVOKED, str(revocation)) if revocation is not None else None
