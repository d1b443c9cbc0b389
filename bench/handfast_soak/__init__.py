"""A long mixed load through one pair of sidecars, with every byte checked and every leaf rotated."""
