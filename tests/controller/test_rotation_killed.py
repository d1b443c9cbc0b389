"""A controller that dies between any two writes of a rotation: the next one goes on from what is there."""

WRITES = 10
"""Of one rotation: a Secret made, five changes of Secrets, two of the ConfigMap, one deletion; and one to spare."""
