"""What the container was started with: facts of the pod's spec, written into its environment by the webhook."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from handfast_sidecar.config.cipher_suites import check_cipher_suites
from handfast_sidecar.config.environment import read
from handfast_sidecar.config.ports import PortRange, parse_few_ports, parse_ports
from handfast_sidecar.config.probes import ProbeTable
from handfast_sidecar.config.upstreams import Upstream, parse_upstreams
from handfast_sidecar.errors import BadConfig
from handfast_sidecar.wellknown import (
    CACHE_PATH,
    ENV_CIPHER_SUITES,
    ENV_INTERCEPTION,
    ENV_LOG_LEVEL,
    ENV_LOOPBACK_PORTS,
    ENV_POD_IPS,
    ENV_POD_UID,
    ENV_PROBES,
    ENV_PROXY_PROTOCOL_PORTS,
    ENV_UPSTREAMS,
    IDENTITY_PATH,
    INTERCEPTION_NONE,
    INTERCEPTION_REDIRECT,
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of `handfast-sidecar proxy`."""

    pod_ips: frozenset[str]
    probes: ProbeTable
    log_level: str = "info"
    cipher_suites: str = ""
    redirected: bool = True
    """Whether nft brings the pod's traffic here; else it is in explicit mode."""
    loopback_ports: tuple[PortRange, ...] = ()
    """In explicit mode, where peers may reach the application on loopback."""
    upstreams: tuple[Upstream, ...] = ()
    identity_path: Path = Path(IDENTITY_PATH)
    cache_path: Path = Path(CACHE_PATH)
    proxy_protocol_ports: frozenset[int] = frozenset()
    """On these the application is told who calls (`traffic.proxy_header`)."""
    pod_uid: str = ""
    """No leaf of another pod is taken; empty: the first one's pod is ours."""

    @property
    def first_ip(self) -> str:
        """The address that probes are asked at."""
        return min(self.pod_ips, key=lambda ip: (":" in ip, ip))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the variables of `wellknown`; raises BadConfig that names the one that is wrong."""
        ips = [part.strip() for part in environment.get(ENV_POD_IPS, "").split(",") if part.strip()]
        if not ips:
            raise BadConfig(f"{ENV_POD_IPS} is empty: it comes from status.podIPs of the pod (downward API)")
        try:
            addresses = frozenset(str(ip_address(ip)) for ip in ips)
        except ValueError as error:
            raise BadConfig(f"{ENV_POD_IPS}: {error}") from error
        return cls(
            addresses,
            ProbeTable.parse(environment.get(ENV_PROBES, "")),
            environment.get(ENV_LOG_LEVEL, "info"),
            check_cipher_suites(environment.get(ENV_CIPHER_SUITES, "")),
            _redirected(environment.get(ENV_INTERCEPTION, INTERCEPTION_REDIRECT)),
            read(environment, ENV_LOOPBACK_PORTS, parse_ports),
            read(environment, ENV_UPSTREAMS, parse_upstreams),
            proxy_protocol_ports=read(environment, ENV_PROXY_PROTOCOL_PORTS, parse_few_ports),
            pod_uid=environment.get(ENV_POD_UID, ""),
        )


def _redirected(word: str) -> bool:
    if word not in (INTERCEPTION_NONE, INTERCEPTION_REDIRECT):
        raise BadConfig(f"{ENV_INTERCEPTION} is {word!r}: expected {INTERCEPTION_REDIRECT!r} or {INTERCEPTION_NONE!r}")
    return word == INTERCEPTION_REDIRECT
