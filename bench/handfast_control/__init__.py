"""Benchmarks of the control plane: what a verdict costs, and how soon a changed policy is in force."""
