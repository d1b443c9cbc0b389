"""What the reconciler has to tell: about which pod, and in which words."""

from dataclasses import dataclass

from handfast_operator.cluster.objects import Pod


@dataclass(frozen=True, slots=True)
class Finding:
    """An obstacle with its remedy."""

    pod: Pod
    """Whose owner is told."""
    subject: str
    """What is told of once, however many pods it concerns."""
    reason: str
    """CamelCase, of the Event."""
    sentence: str
