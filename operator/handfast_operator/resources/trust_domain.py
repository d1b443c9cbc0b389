"""TrustDomain: the authority whose name is in every identity."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from handfast_operator.cluster.objects import Key

DEFAULT_ROOT_TTL: Final = timedelta(days=90)
"""Life of a self-signed root."""


@dataclass(frozen=True, slots=True)
class TrustDomain:
    """Its name is the trust domain's name."""

    name: str
    uid: str
    resource_version: int
    generation: int
    root_ttl: timedelta = DEFAULT_ROOT_TTL

    @property
    def key(self) -> Key:
        return ("", self.name)
