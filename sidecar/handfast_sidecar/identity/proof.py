"""What a side has proven with a handshake: its leaf, and the root of the bundle that vouches for it."""

from dataclasses import dataclass

from handfast_sidecar.identity.leaf import Leaf


@dataclass(frozen=True, slots=True)
class Proof:
    """A leaf that passed every check."""

    leaf: Leaf
    root: str
    """The trust anchor at the end of its verified chain: see `bundle.anchor`."""
