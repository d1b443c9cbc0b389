"""Trust domains: the roots that sign, their states, where they are kept, and the leaves they sign."""
