"""What the operator was started with: the chart writes it into each role's environment."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handfast_sidecar.config.cipher_suites import check_cipher_suites
from handfast_sidecar.config.document import Network, parse_ranges
from handfast_sidecar.errors import BadConfig, BadSpiffeId
from handfast_sidecar.identity.spiffe import SpiffeId, check_trust_domain
from handfast_sidecar.wellknown import CONTROLLER_ACCOUNT, DIRECTORY_ACCOUNT


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of all roles; a role reads those that concern it."""

    namespace: str = "handfast-system"
    """Where the operator runs, and keeps its authorities."""
    pod_name: str = "handfast"
    """Who holds the Lease."""
    trust_domain: str = "cluster.local"
    """Stands first in every identity: the chart's `trustDomain`."""
    sidecar_image: str = "handfast/sidecar:latest"
    """That new pods get: the chart's `images.sidecar`."""
    sidecar_pull_policy: str = "IfNotPresent"
    """Of that image."""
    sidecar_resources: Mapping[str, Any] = field(default_factory=dict)
    """JSON: the chart's `sidecar.resources`."""
    sidecar_log_level: str = "info"
    """The chart's `sidecar.logLevel`, else its `logLevel`."""
    sidecar_cipher_suites: str = ""
    """As sidecars read it: names with colons between; empty: OpenSSL's own order."""
    issuer_secret: str = ""
    """Named by the TrustDomain that is made at the first start; empty: the operator makes its roots itself."""
    cluster_ranges: tuple[Network, ...] = ()
    """The chart's `clusterRanges`, with commas between; empty: found in the cluster."""
    log_level: str = "info"
    """debug, info, warning or error: the chart's `logLevel`."""
    tls_dir: Path = Path("/var/run/handfast/serving")
    """tls.crt, tls.key and ca.crt of the webhook's or the directory's own certificate."""
    test_namespace: str = "default"
    """Where the verb `test` asks for a pod, in a dry run."""

    @property
    def directory_id(self) -> SpiffeId:
        """The only identity that sidecars accept as the directory."""
        return SpiffeId.of_service_account(self.trust_domain, self.namespace, DIRECTORY_ACCOUNT)

    @property
    def controller_id(self) -> SpiffeId:
        """The only identity that a directory shows its evidence to."""
        return SpiffeId.of_service_account(self.trust_domain, self.namespace, CONTROLLER_ACCOUNT)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the HANDFAST_* variables; raises BadConfig that names the one that is wrong."""
        default = cls()
        ranges = [part.strip() for part in environment.get("HANDFAST_CLUSTER_RANGES", "").split(",") if part.strip()]
        log_level = environment.get("HANDFAST_LOG_LEVEL") or default.log_level
        return cls(
            namespace=environment.get("HANDFAST_NAMESPACE") or default.namespace,
            # Two that hold the Lease under one name would both write.
            pod_name=environment.get("HANDFAST_POD_NAME") or environment.get("HOSTNAME") or default.pod_name,
            trust_domain=_trust_domain(environment.get("HANDFAST_TRUST_DOMAIN") or default.trust_domain),
            sidecar_image=environment.get("HANDFAST_SIDECAR_IMAGE") or default.sidecar_image,
            sidecar_pull_policy=environment.get("HANDFAST_SIDECAR_PULL_POLICY") or default.sidecar_pull_policy,
            sidecar_resources=_object(
                "HANDFAST_SIDECAR_RESOURCES", environment.get("HANDFAST_SIDECAR_RESOURCES") or "{}"
            ),
            sidecar_log_level=environment.get("HANDFAST_SIDECAR_LOG_LEVEL") or log_level,
            sidecar_cipher_suites=check_cipher_suites(environment.get("HANDFAST_SIDECAR_CIPHER_SUITES") or ""),
            issuer_secret=environment.get("HANDFAST_ISSUER_SECRET") or "",
            cluster_ranges=_ranges(ranges),
            log_level=log_level,
            tls_dir=Path(environment.get("HANDFAST_TLS_DIR") or default.tls_dir),
            test_namespace=environment.get("HANDFAST_TEST_NAMESPACE") or default.test_namespace,
        )


def _trust_domain(name: str) -> str:
    try:
        return check_trust_domain(name)
    except BadSpiffeId as error:
        raise BadConfig(f"HANDFAST_TRUST_DOMAIN (chart value trustDomain): {error}") from error


def _ranges(ranges: list[str]) -> tuple[Network, ...]:
    try:
        return parse_ranges(ranges)
    except ValueError as error:
        raise BadConfig(f"HANDFAST_CLUSTER_RANGES (chart value clusterRanges): {error}") from error


def _object(name: str, text: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise BadConfig(f"{name} is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadConfig(f"{name}: expected an object, found {type(document).__name__}")
    return document
