"""The directory, seen from a sidecar: its messages, the client, and what was learnt from it."""
