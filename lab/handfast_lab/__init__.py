"""The lab: a mesh on one Linux machine, without a cluster. A test double of Kubernetes, and nothing else."""
