"""How the operator's own parts are known in a cluster: by the labels that the chart gives them."""

from typing import Final

ROLES_OF_OPERATOR: Final = ("controller", "webhook", "directory")
NAME_LABEL: Final = "app.kubernetes.io/name"
VERSION_LABEL: Final = "app.kubernetes.io/version"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
"""One of ROLES_OF_OPERATOR."""
INSTANCE_LABEL: Final = "app.kubernetes.io/instance"
"""The release, as Helm knows it."""
PARTS: Final = f"{NAME_LABEL}=handfast"
"""Selects what the chart installs."""
