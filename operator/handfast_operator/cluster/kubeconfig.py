"""kubeconfig files as kubectl reads them: several are one, and of two that say the same thing the first one wins.

The one rule: what cannot be honoured is refused with the file and the field, never passed over: it may be what
protects the connection.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from handfast_sidecar.errors import HandfastError

Raw = Mapping[str, Any]
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's takes a tenth of the time, where PyYAML was built with it."""
_NOT_HONOURED: Final = {
    "proxy-url": "connect without a proxy",
    "auth-provider": "use its successor, exec",
    "username": "API servers take no passwords any more, use a token",
}


class NoAccess(HandfastError):
    """Nothing says where the API server is, or it cannot be read."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a context stands for."""

    name: str
    namespace: str
    cluster: Raw
    user: Raw
    cluster_file: Path
    """Its relative paths start beside this file."""
    user_file: Path
    source: str
    """The files, as they are named to people."""


def read_context(paths: Sequence[Path], wanted: str = "") -> Context:
    """The context `wanted`, or the current one. Of several files those that are missing are none. Raises NoAccess."""
    source = ":".join(map(str, paths))
    try:
        documents = [(path, _document(path)) for path in paths if len(paths) == 1 or path.exists()]
        return _context(documents, wanted, source)
    except OSError as error:
        raise NoAccess(f"the kubeconfig {source} cannot be used: {error}") from error
    except KeyError as error:
        raise NoAccess(f"the kubeconfig {source} has no {error.args[0]!r}: try it with kubectl") from error
    except (AttributeError, TypeError, ValueError, yaml.YAMLError) as error:
        raise not_understood(source, error) from None


def context_names(paths: Sequence[Path]) -> list[str]:
    """Of all contexts that these files have. Raises OSError, YAMLError, or what a file of another form makes of it."""
    found = [_document(path).get("contexts") or () for path in paths if path.exists()]
    return list(dict.fromkeys(str(each["name"]) for contexts in found for each in contexts))


def not_understood(source: str, error: Exception) -> NoAccess:
    """Not in the parser's own words: they quote the file, and it holds keys."""
    return NoAccess(f"the kubeconfig {source} is not understood ({type(error).__name__}): try it with kubectl")


def _document(path: Path) -> Raw:
    found = yaml.load(path.read_text(), _LOADER)  # noqa: S506 - both are safe loaders
    return found if found is not None else {}


def _context(documents: Sequence[tuple[Path, Raw]], wanted: str, source: str) -> Context:
    currents = [document["current-context"] for _, document in documents if document.get("current-context")]
    if not wanted and not currents:
        raise KeyError("current-context")
    name = wanted or currents[0]
    _, context = _named(documents, "contexts", "context", name)
    cluster_file, cluster = _named(documents, "clusters", "cluster", context["cluster"])
    user_file, user = _named(documents, "users", "user", context["user"]) if context.get("user") else (Path(), {})
    for section, kind in ((cluster, "cluster"), (user, "user")):
        for field in _NOT_HONOURED.keys() & section.keys():
            raise NoAccess(f"the kubeconfig {source}: {field} of its {kind} is not known here: {_NOT_HONOURED[field]}")
    return Context(name, context.get("namespace") or "default", cluster, user, cluster_file, user_file, source)


def _named(documents: Sequence[tuple[Path, Raw]], plural: str, kind: str, name: str) -> tuple[Path, Raw]:
    for path, document in documents:
        for each in document.get(plural) or ():
            if each["name"] == name:
                return path, each[kind] or {}
    raise KeyError(name)
