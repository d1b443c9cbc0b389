"""Port numbers with commas between, as they stand in an annotation and in the container's environment. Pure."""

from handfast_sidecar.errors import BadInput
from handfast_sidecar.wellknown import SIDECAR_PORTS


def parse_ports(text: str) -> frozenset[int]:
    """The ports of "8080,9090"; spaces around them do not count. Raises BadInput that names the part that is wrong."""
    return frozenset(_port(part.strip()) for part in text.split(","))


def _port(part: str) -> int:
    if not (part.isascii() and part.isdecimal() and len(part) <= 5 and 0 < int(part) < 65536):
        raise BadInput(f"{part!r} is no port number from 1 to 65535")
    if int(part) in SIDECAR_PORTS:
        raise BadInput(f"port {part} belongs to the sidecar, not to an application")
    return int(part)
