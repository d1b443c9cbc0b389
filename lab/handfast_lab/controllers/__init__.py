"""What kube-controller-manager does, as far as the lab needs it."""
