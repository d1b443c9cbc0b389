"""Handfast's control plane: controller, admission webhook and directory."""

from handfast_sidecar import __version__

__all__ = ["__version__"]
