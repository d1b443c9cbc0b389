"""What the application dials, as a route: by what the directory says of the address, to an endpoint chosen from it."""

from collections.abc import Callable
from random import Random

from handfast_sidecar.directory.messages import NobodyAddress, ServiceAddress
from handfast_sidecar.traffic.asking import AddressSource, Asked
from handfast_sidecar.traffic.connection import Connection
from handfast_sidecar.traffic.endpoint_choice import EndpointChoice, OpenStreams
from handfast_sidecar.traffic.routing import Route, route


class Destinations:
    """Knows the way, or asks for it.

    load   open connections to an endpoint
    clock  seconds that only grow
    """

    def __init__(
        self,
        directory: AddressSource,
        in_cluster: Callable[[str], bool],
        load: OpenStreams,
        *,
        random: Random | None,
        clock: Callable[[], float],
    ) -> None:
        self._directory = directory
        self.asked = Asked(directory, in_cluster)
        self.choice = EndpointChoice(load, clock=clock, random=random or Random())  # noqa: S311 - spreads load

    def known(self, connection: Connection) -> Route | None:
        """Where it goes; None where that is to be asked, as it always is of what was nobody's."""
        address = connection.destination
        answer = self._directory.known(address)
        if answer is None or isinstance(answer, NobodyAddress):
            return None
        return route(answer, address, connection.destination_port, in_cluster=False, to_service=self._to_service)

    async def ask(self, connection: Connection) -> Route:
        """Where it goes, by the directory's word, or by the lack of one."""
        address = connection.destination
        answer = await self.asked.answer(address)
        return route(
            answer,
            address,
            connection.destination_port,
            in_cluster=answer is None and self.asked.in_cluster(address),
            to_service=self._to_service,
        )

    def _to_service(self, service: ServiceAddress, port: int) -> Route:
        return self.choice.route(service, port, self._directory.place)
