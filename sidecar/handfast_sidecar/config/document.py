"""config.json: one immutable snapshot of what a sidecar must know before it may judge anything.

Its schema is versioned and shared with the operator, which writes it into the pod's Secret (docs/protocol.md,
"config.json"). Unknown fields are ignored, so an older sidecar reads a newer operator's file; an unknown schema
number is refused, so a change of meaning cannot pass unseen.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final

from handfast_sidecar.errors import BadConfig, BadInput
from handfast_sidecar.identity.revocation import Revocations
from handfast_sidecar.identity.spiffe import SpiffeId, check_trust_domain
from handfast_sidecar.policy.effective import EffectivePolicy

SCHEMA: Final = 1
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class DirectoryAddress:
    """Where the directory is, and the only identity that may answer there."""

    host: str
    port: int
    spiffe_id: SpiffeId


@dataclass(frozen=True, slots=True)
class SidecarConfig:
    """The content of config.json."""

    revision: int
    """Orders policies: of two, the one with the higher revision was compiled from newer objects."""
    trust_domain: str
    policy: EffectivePolicy
    directory: DirectoryAddress
    cluster_ranges: tuple[Network, ...]
    """Pod and Service ranges: an address inside is never passed unencrypted on a guess."""
    revoked: Revocations = field(default_factory=Revocations)
    """Who is trusted no more."""

    def in_cluster(self, address: str) -> bool:
        """Whether an address belongs to the cluster's own ranges."""
        return within(self.cluster_ranges, address)

    def dump(self) -> str:
        """The file's text: stable, so that equal configurations are equal bytes."""
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "revision": self.revision,
            "trustDomain": self.trust_domain,
            "policy": self.policy.to_json(),
            "directory": {
                "host": self.directory.host,
                "port": self.directory.port,
                "spiffeId": str(self.directory.spiffe_id),
            },
            "clusterRanges": [str(network) for network in self.cluster_ranges],
        }
        if self.revoked != Revocations():
            document["revoked"] = self.revoked.to_json()
        return json.dumps(document, separators=(",", ":"), sort_keys=True)

    @classmethod
    def parse(cls, text: str | bytes) -> "SidecarConfig":
        """Read config.json; raises BadConfig with the field that is wrong."""
        try:
            return _parse(json.loads(text))
        except BadInput as error:
            raise BadConfig(f"config.json: {error}") from error
        except KeyError as error:
            raise BadConfig(f"config.json: the field {error.args[0]!r} is missing") from error
        except (ValueError, TypeError) as error:
            raise BadConfig(f"config.json: {error}") from error


def _parse(document: Any) -> SidecarConfig:
    if not isinstance(document, dict):
        raise BadConfig("expected an object")
    if document.get("schema") != SCHEMA:
        raise BadConfig(
            f"schema {document.get('schema')!r} is not known to this sidecar, which reads {SCHEMA}: restart the pod so "
            "that it gets the sidecar of the operator that wrote it"
        )
    directory = document["directory"]
    return SidecarConfig(
        revision=int(document["revision"]),
        trust_domain=check_trust_domain(document["trustDomain"]),
        policy=EffectivePolicy.from_json(document["policy"]),
        directory=DirectoryAddress(directory["host"], int(directory["port"]), SpiffeId.parse(directory["spiffeId"])),
        cluster_ranges=parse_ranges(document["clusterRanges"]),
        revoked=Revocations.from_json(document["revoked"]) if "revoked" in document else Revocations(),
    )


def parse_ranges(ranges: Sequence[str]) -> tuple[Network, ...]:
    """Networks from their text; raises ValueError for one that is none."""
    return tuple(ip_network(text) for text in ranges)


def within(ranges: Sequence[Network], address: str) -> bool:
    """Whether an address lies in one of the ranges; of the other family it never does."""
    ip = ip_address(address)
    return any(ip.version == network.version and ip in network for network in ranges)
