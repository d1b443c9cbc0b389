"""What may differ between the clusters that we start: interception has to work on each."""

from dataclasses import dataclass
from typing import Final, Literal

POD_RANGE: Final = "10.244.0.0/24"
SERVICE_RANGE: Final = "10.96.0.0/16"
POD_RANGE6: Final = "fd00:10:244::/64"
SERVICE_RANGE6: Final = "fd00:10:96::/112"


@dataclass(frozen=True, slots=True)
class Variant:
    """How kube-proxy works, and which address families there are."""

    name: str
    proxy_mode: Literal["nftables", "iptables"] = "nftables"
    dual_stack: bool = False

    @property
    def pod_ranges(self) -> tuple[str, ...]:
        """IPv4 first."""
        return (POD_RANGE, POD_RANGE6) if self.dual_stack else (POD_RANGE,)

    @property
    def service_ranges(self) -> tuple[str, ...]:
        """IPv4 first."""
        return (SERVICE_RANGE, SERVICE_RANGE6) if self.dual_stack else (SERVICE_RANGE,)


DEFAULT: Final = Variant("nftables")
VARIANTS: Final = {each.name: each for each in (DEFAULT, Variant("dual-iptables", "iptables", dual_stack=True))}
