"""A real Kubernetes on one machine, built from Go module sources, inside namespaces of its own.

The one rule: whatever runs, is mounted or is configured for the cluster lives in a PID, mount and network namespace
that has no way out of the machine. So ending one process ends all of it, whatever state it was in.
"""
