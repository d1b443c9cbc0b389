"""The policy a sidecar acts on: of the Secret's and the directory's, the one compiled from newer objects."""

from handfast_sidecar.policy.effective import EffectivePolicy


class PolicyInForce:
    """Holds one immutable policy; a newer one replaces it as a whole."""

    def __init__(self, policy: EffectivePolicy, revision: int) -> None:
        self.policy = policy
        self.revision = revision

    def offer(self, policy: EffectivePolicy, revision: int, over: int = 0) -> bool:
        """Take a policy unless it is older than what is in force; says whether anything changed.

        `over`: the directory knows that a policy of this revision belongs to a history that the API server has lost
        (its etcd was restored from a copy), so this one replaces it although its own revision is lower.

        The Secret lags behind the directory by kubelet's projection, and the directory may be away: each brings the
        revision of the objects it has seen, so neither can bring back the past.
        """
        if max(revision, over) < self.revision:
            return False
        changed = policy != self.policy
        self.policy, self.revision = policy, revision
        return changed
