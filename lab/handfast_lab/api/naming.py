"""Names of objects: which are allowed, and those that the server makes up. Pure but for chance."""

import re
import secrets
from typing import Any, Final

from handfast_lab.api.resources import CRDS, Resource

Json = dict[str, Any]
_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_DNS1035: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
_ENDS: Final = "must start and end with an alphanumeric character"
_RULES: Final = {
    "namespaces": (
        _LABEL,
        63,
        f"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and {_ENDS}",
        "'my-name',  or '123-abc'",
    ),
    "services": (
        _DNS1035,
        63,
        (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic"
            " character, and end with an alphanumeric character"
        ),
        "'my-name',  or 'abc-123'",
    ),
}
_SUBDOMAIN_RULE: Final = (
    _SUBDOMAIN,
    253,
    f"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and {_ENDS}",
    "'example.com'",
)
_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"


def random_suffix() -> str:
    """Five characters that spell no word, as `generateName` gets them."""
    return "".join(secrets.choice(_LETTERS) for _ in range(5))


def name_problems(resource: Resource, metadata: Json) -> list[str]:
    """What is wrong with a name, in the server's words."""
    name = metadata.get("name") or ""
    if not name:
        return ["metadata.name: Required value: name or generateName is required"]
    if resource.group == "rbac.authorization.k8s.io" or resource.name == CRDS:
        bad = next((each for each in ("/", "%") if each in name), None)
        return [] if bad is None else [f"metadata.name: Invalid value: \"{name}\": may not contain '{bad}'"]
    pattern, longest, words, examples = _RULES.get(resource.name, _SUBDOMAIN_RULE)
    found = []
    if len(name) > longest:
        found.append(f'metadata.name: Invalid value: "{name}": must be no more than {longest} characters')
    if not re.fullmatch(pattern, name):
        said = f"{words} (e.g. {examples}, regex used for validation is '{pattern}')"
        found.append(f'metadata.name: Invalid value: "{name}": {said}')
    return found
