"""The verb `init`: write the rules, look whether they are there, and end.

It is the only part of Handfast with a privilege (CAP_NET_ADMIN), so it does this one thing. The one rule: it succeeds
only when the rules were seen in the kernel, because the application starts after it and must never start in plaintext.
"""

import logging
import subprocess
from typing import Final

from handfast_sidecar.interception.rules import FAMILY, TABLE, RulesOptions, ruleset

log = logging.getLogger(__name__)

NFT: Final = "nft"
TIMEOUT_S: Final = 30.0
"""Seconds for one call of nft: it takes milliseconds, unless the kernel loads modules."""


class RulesNotApplied(Exception):
    """The rules are not in place; the message says what to do."""


def run_init(options: RulesOptions | None = None, nft: str = NFT) -> int:
    """Apply and verify the rules; the exit code of the container. Running it again changes nothing."""
    options = options or RulesOptions()
    try:
        apply(options, nft)
    except RulesNotApplied as error:
        log.error("the pod's traffic cannot be intercepted", extra={"detail": str(error)})
        return 1
    log.info(
        "traffic is intercepted",
        extra={
            "table": f"{FAMILY} {TABLE}",
            "outbound": options.outbound_port,
            "inbound": options.inbound_port,
            **({"skipped": skipped} if (skipped := options.skips.dump()) else {}),
        },
    )
    return 0


def apply(options: RulesOptions, nft: str = NFT) -> None:
    """Write the rules and read them back; raises RulesNotApplied."""
    _nft([nft, "-f", "-"], ruleset(options))
    listed = _nft([nft, "list", "table", FAMILY, TABLE])
    for port in (options.outbound_port, options.inbound_port):
        if f"redirect to :{port}" not in listed:
            raise RulesNotApplied(
                f"nft took the rules, but the redirection to port {port} is not in the kernel: {listed}"
            )


def _nft(command: list[str], rules: str = "") -> str:
    try:
        done = subprocess.run(command, input=rules, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise RulesNotApplied(
            f"{command[0]} is not installed in this image: use Handfast's own sidecar image, which has nftables"
        ) from None
    except subprocess.TimeoutExpired:
        raise RulesNotApplied(f"nft did not end within {TIMEOUT_S:.0f} s: look at the node's kernel log") from None
    if done.returncode == 0:
        return done.stdout
    raise RulesNotApplied(_explain(done.stderr.strip()))


def _explain(text: str) -> str:
    if "Operation not permitted" in text or "you must be root" in text:
        return (
            "the container lacks the capability NET_ADMIN or does not run as root: let the namespace's Pod Security "
            "level allow it for handfast-init, annotate the pod handfast.dev/interception=none (explicit mode), or "
            f"label it handfast.dev/inject=disabled ({text})"
        )
    if "No such file or directory" in text or "not supported" in text:
        return f"the node's kernel lacks nftables NAT: load the modules nf_tables, nft_chain_nat and nft_redir ({text})"
    return f"nft refused the rules: {text}"
