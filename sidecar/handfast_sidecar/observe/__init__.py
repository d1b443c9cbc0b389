"""What a sidecar shows of itself: logs, metrics, its admin port, and the evidence it reports."""
