"""TrustDomain: the authority whose name is in every identity."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from handfast_operator.cluster.objects import Key
from handfast_sidecar.identity.revocation import Revocation

DEFAULT_ROOT_TTL: Final = timedelta(days=90)
"""Life of a self-signed root."""


@dataclass(frozen=True, slots=True)
class RotationSpec:
    """How the root's replacement is steered."""

    trigger: str = ""
    """A word that was not answered yet asks for one rotation; empty: none is asked for."""
    paused: bool = False
    force: str = ""
    """Name of the authority whose next move waits for nobody; empty: none."""
    back: str = ""
    """Name of the authority that is to sign again; empty: none."""


@dataclass(frozen=True, slots=True)
class TrustDomain:
    """Its name is the trust domain's name."""

    name: str
    uid: str
    resource_version: int
    generation: int
    root_ttl: timedelta = DEFAULT_ROOT_TTL
    issuer_secret: str = ""
    """Name of the Secret, in the operator's namespace, of an issuer that somebody else renews; empty: our own roots."""
    rotation: RotationSpec = RotationSpec()
    revoked: tuple[Revocation, ...] = ()
    """Who is trusted no more; those whose time has ended too."""

    @property
    def key(self) -> Key:
        return ("", self.name)
