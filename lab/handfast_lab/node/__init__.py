"""The node agent: what kubelet does with a pod, with processes for containers."""
