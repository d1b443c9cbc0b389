"""Handfast's data plane: the proxy and the init step that run in every meshed pod."""

__version__ = "0.2.0"
