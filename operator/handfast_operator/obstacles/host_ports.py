"""Ports of the node that lead into a meshed pod: whoever uses them comes from outside the mesh, in plaintext. Pure."""

from typing import Final

from handfast_operator.cluster.objects import Pod
from handfast_operator.obstacles.finding import Finding
from handfast_sidecar.policy.effective import EffectivePolicy, Mode

HOST_PORT_PLAINTEXT: Final = "HostPortPlaintext"


def host_port_findings(pod: Pod, policy: EffectivePolicy) -> list[Finding]:
    """One for each host port at which the pod's policy refuses plaintext."""
    if not pod.meshed or pod.terminal or pod.deleting:
        return []
    rules = ((port, policy.rule_for(port.port)) for port in pod.ports if port.host_port)
    return [
        Finding(
            pod,
            f"{pod.namespace}/{pod.owner}:{port.port}" if pod.owner else f"{pod.uid}:{port.port}",
            HOST_PORT_PLAINTEXT,
            f"port {port.host_port} of the node leads to port {port.port} of the pod (hostPort): clients there have no "
            f"sidecar, and {rule.origin} asks for {rule.mode.value}, so they are refused (plaintext_refused); let an "
            f"MTLSPolicy allow plaintext there (ports: [{{port: {port.port}, mode: {Mode.PERMISSIVE.value}}}]), or "
            "remove the hostPort",
        )
        for port, rule in rules
        if rule.mode is Mode.STRICT
    ]
