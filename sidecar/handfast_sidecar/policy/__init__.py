"""What a pod accepts: a compiled policy, and verdicts over it. Pure."""
