"""A Secret of type kubernetes.io/tls, as the API server takes it. Pure."""

import base64
from collections.abc import Mapping
from typing import Any, Final

Json = dict[str, Any]
TLS_TYPE: Final = "kubernetes.io/tls"
"""The API server demands tls.crt and tls.key of it, and takes further files."""


def tls_secret(metadata: Json, files: Mapping[str, bytes]) -> Json:
    """The object; `files` by their names."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": TLS_TYPE,
        "metadata": metadata,
        "data": {name: base64.b64encode(content).decode() for name, content in files.items()},
    }
