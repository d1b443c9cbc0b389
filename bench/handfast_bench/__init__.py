"""Handfast beside its peers, on this machine: what the tunnel costs, and whether it holds."""
