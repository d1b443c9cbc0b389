"""What the webhook wrote into a container's environment, in the words of a pod's annotations. Pure."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from handfast_sidecar.errors import BadConfig, BadInput

T = TypeVar("T")


def read(environment: Mapping[str, str], name: str, parse: Callable[[str], T]) -> T:
    """What a variable says; one that is not set says what the empty text does. Raises BadConfig that names it."""
    try:
        return parse(environment.get(name, ""))
    except BadInput as error:
        raise BadConfig(f"{name}: {error}") from error
