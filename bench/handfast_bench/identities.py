"""Certificates for everybody in a run, signed by one root with the operator's own code: the same for each peer."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from handfast_bench.namespaces import CONTROL_IP
from handfast_lab.node import volumes
from handfast_operator.authority.authority import Authority
from handfast_operator.authority.leaf import LeafRequest, issue
from handfast_operator.authority.root import make_root
from handfast_operator.authority.state import AuthorityState
from handfast_operator.settings import Settings
from handfast_sidecar.config.document import DirectoryAddress, SidecarConfig, parse_ranges
from handfast_sidecar.identity.spiffe import SpiffeId
from handfast_sidecar.policy.effective import EffectivePolicy, Mode, ModeRule
from handfast_sidecar.wellknown import DIRECTORY_PORT, FILE_BUNDLE, FILE_CERTIFICATE, FILE_CONFIG, FILE_KEY

TRUST_DOMAIN: Final = "bench.example"
TTL: Final = timedelta(hours=24)
STRICT: Final = EffectivePolicy(ModeRule(Mode.STRICT, "MTLSPolicy bench/server"))
SETTINGS: Final = Settings(trust_domain=TRUST_DOMAIN)
_MODE: Final = 0o644
"""Of a Secret's files."""
RANGES: Final = ("10.77.0.0/24",)


@dataclass(frozen=True)
class Pod:
    """A pod as the directory is told of it; its name is also its service account's."""

    name: str
    ip: str
    uid: str
    namespace: str = "bench"
    ip6: str = ""
    """Of a pod that has a second one."""
    account: str = ""
    """Its service account, where that has another name."""

    @property
    def ips(self) -> tuple[str, ...]:
        return (self.ip, self.ip6) if self.ip6 else (self.ip,)

    @property
    def spiffe_id(self) -> SpiffeId:
        return SpiffeId.of_service_account(TRUST_DOMAIN, self.namespace, self.account or self.name)


@dataclass
class Identities:
    """One root, and what it signs."""

    authority: Authority = field(init=False)

    def __post_init__(self) -> None:
        root = make_root(TRUST_DOMAIN, datetime.now(UTC))
        self.authority = Authority("bench", TRUST_DOMAIN, AuthorityState.ACTIVE, root.certificate, root.key)

    @property
    def bundle_pem(self) -> bytes:
        return self.authority.certificate.public_bytes(Encoding.PEM)

    def files(
        self, spiffe_id: SpiffeId, name: str, uid: str = "", *, ttl: timedelta = TTL, dns_names: tuple[str, ...] = ()
    ) -> dict[str, bytes]:
        """A fresh leaf's tls.crt, tls.key and ca.crt."""
        leaf = issue(self.authority, LeafRequest(spiffe_id, name, uid, ttl, dns_names), datetime.now(UTC))
        return {FILE_CERTIFICATE: leaf.chain_pem, FILE_KEY: leaf.key_pem, FILE_BUNDLE: self.bundle_pem}

    def write_pod(
        self,
        pod: Pod,
        directory: Path,
        *,
        ttl: timedelta = TTL,
        policy: EffectivePolicy = STRICT,
        revision: int = 1,
        directory_host: str = CONTROL_IP,
        bundle_pem: bytes = b"",
    ) -> None:
        """A new version of the pod's Secret, swapped in as kubelet does; `bundle_pem`: other roots than our own."""
        config = SidecarConfig(
            revision=revision,
            trust_domain=TRUST_DOMAIN,
            policy=policy,
            directory=DirectoryAddress(directory_host, DIRECTORY_PORT, SETTINGS.directory_id),
            cluster_ranges=parse_ranges(RANGES),
        )
        files = self.files(pod.spiffe_id, pod.name, pod.uid, ttl=ttl)
        if bundle_pem:
            files[FILE_BUNDLE] = bundle_pem
        directory.mkdir(parents=True, exist_ok=True)
        contents = {**files, FILE_CONFIG: config.dump().encode()}
        volumes.write(directory, {name: (content, _MODE) for name, content in contents.items()})


def write_files(directory: Path, files: dict[str, bytes]) -> dict[str, Path]:
    """Plain files, for those who read no Secret's directory; their paths by name."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return {name: directory / name for name in files}
