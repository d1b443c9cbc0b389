"""What the operator tells a sidecar before the first packet: config.json and the probes."""
