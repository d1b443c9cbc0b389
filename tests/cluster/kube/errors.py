"""What stops a cluster, said as a sentence that tells the reader what to do.

ClusterError
├── MachineUnfit       the machine lacks something that we may not or cannot install
├── BuildFailed        a binary or an image did not build
├── PartDied           a part of the cluster ended or never became ready
└── ClusterRunning     someone else's cluster is on this machine
"""


class ClusterError(Exception):
    """The cluster cannot do what was asked; the message is for a person."""


class MachineUnfit(ClusterError):
    """Run on a machine that has what the message names."""


class BuildFailed(ClusterError):
    """The message ends with the tail of the tool's own words."""


class PartDied(ClusterError):
    """The message names the log to read."""


class ClusterRunning(ClusterError):
    """Use it by HANDFAST_KUBECONFIG, or end it with `make cluster-down`."""
