"""Objects of the API server, with what a test does not care about filled in."""

from collections.abc import Mapping

from handfast_operator.cluster.objects import ContainerPort, Pod


def pod(
    namespace: str,
    name: str,
    *,
    uid: str = "",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    version: int = 1,
    service_account: str = "default",
    ips: tuple[str, ...] = (),
    phase: str = "Running",
    ready: bool = True,
    deleting: bool = False,
    host_network: bool = False,
    mirror: bool = False,
    meshed: bool = True,
    owner: str = "",
    windows: bool = False,
    ports: tuple[ContainerPort, ...] = (),
) -> Pod:
    """A pod with a sidecar, unless told otherwise."""
    return Pod(
        namespace=namespace,
        name=name,
        uid=uid or f"uid-{namespace}-{name}",
        resource_version=version,
        labels=labels or {},
        annotations=annotations or {},
        service_account=service_account,
        node="node1",
        ips=ips,
        phase=phase,
        ready=ready,
        deleting=deleting,
        host_network=host_network,
        mirror=mirror,
        secret=f"{name}-handfast-0123456789" if meshed else "",
        proxy_image="localhost/handfast-sidecar:test" if meshed else "",
        proxy_running=meshed,
        owner=owner,
        windows=windows,
        ports=ports,
    )
