"""Tests on a real Kubernetes, which this package builds and starts.

`python -m cluster --help`, from the folder `tests`, tells how to keep one running.
"""
