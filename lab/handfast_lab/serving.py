"""How the API server is reached: its certificate, and the kubeconfig that trusts it.

The one rule: what is made here lives as long as the lab. Anyone with the kubeconfig may do everything in it.
"""

import secrets
import ssl
from base64 import b64encode
from pathlib import Path
from typing import Final

import trustme
import yaml

from handfast_lab.network.addresses import API_SERVICE, NODE_ADDRESS

_NAMES: Final = ("kubernetes.default.svc", "localhost", "127.0.0.1", str(NODE_ADDRESS), str(API_SERVICE))


class Serving:
    """A certificate of its own authority, and an administrator's token."""

    def __init__(self) -> None:
        authority = trustme.CA(organization_name="handfast lab")
        self.authority_pem = authority.cert_pem.bytes().decode()
        self.token = secrets.token_urlsafe(32)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(*_NAMES, common_name="kube-apiserver").configure_cert(self.context)

    def write_kubeconfig(self, path: Path, url: str) -> None:
        """For people and programs outside the lab; readable by its owner alone."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
            "clusters": [
                {
                    "name": "lab",
                    "cluster": {
                        "server": url,
                        "certificate-authority-data": b64encode(self.authority_pem.encode()).decode(),
                    },
                }
            ],
            "users": [{"name": "admin", "user": {"token": self.token}}],
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(document))
