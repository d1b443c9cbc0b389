"""What a request says beside its object: who asks, under which name fields are owned, and how strict to be."""

from dataclasses import dataclass, field
from typing import Any, Final

Json = dict[str, Any]
ADMINISTRATOR: Final = "kubernetes-admin"
STRICT: Final = "Strict"
WARN: Final = "Warn"
IGNORE: Final = "Ignore"


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    user: str = ADMINISTRATOR
    manager: str = "lab"
    """Name under which the fields that it writes are owned."""
    dry_run: bool = False
    strictness: str = WARN
    """What happens to fields that a custom resource does not have: `Strict`, `Warn` or `Ignore`."""
    warnings: list[str] = field(default_factory=list)
    """Told to the client."""
    subresource: str = ""
    patched: bool = False
    """Whether the object comes from a patch: refusals have other words then."""
    applied: Json | None = None
    """What a server-side apply wants."""
    force: bool = False
    """Whether an apply takes fields from others."""
