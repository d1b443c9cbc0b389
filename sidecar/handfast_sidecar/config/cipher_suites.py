"""Which TLS 1.3 cipher suites tunnels may use (RFC 8446, B.4). Pure; the chart's `sidecar.cipherSuites`."""

from typing import Final

from handfast_sidecar.errors import BadConfig

KNOWN: Final = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")
"""OpenSSL's own choice, in its order. The two with CCM are for devices that no pod runs on."""


def check_cipher_suites(text: str) -> str:
    """The names, with colons between, as OpenSSL takes them; empty: OpenSSL's own. Raises BadConfig."""
    for name in text.split(":") if text else ():
        if name not in KNOWN:
            raise BadConfig(f"{name!r} is no cipher suite of our tunnels: choose from {', '.join(KNOWN)}")
    return text
