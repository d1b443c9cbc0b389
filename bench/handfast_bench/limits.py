"""How many descriptors a process may have here: a relay needs two for each connection.

A limit that root may not raise (a container without CAP_SYS_RESOURCE) makes the idle case smaller, and the report says
how small.
"""

import resource
from typing import Final

_WANTED: Final = 65536
_SHARE: Final = 120 / 256
"""Of its descriptors, for clients: half would be two each; stunnel, the strictest, takes 125/256."""


def raise_open_files() -> None:
    """As far as we may; for all that this process starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_WANTED, max(hard, _WANTED)))
    except ValueError:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def open_files() -> int:
    """What a process that we start may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def relayed_connections() -> int:
    """How many of them one relay can have open, in round numbers."""
    return int(open_files() * _SHARE) // 100 * 100
