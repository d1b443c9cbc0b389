"""What writes: Secrets, status, Events, and the operator's own certificates. kopf's handlers live here only."""
