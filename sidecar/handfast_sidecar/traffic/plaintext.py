"""Outbound connections without encryption: asked about before the dial, after it, and when the policy changes."""

from collections.abc import Callable, Collection

from handfast_sidecar.directory.messages import AddressAnswer, ServiceAddress, Transport
from handfast_sidecar.policy.in_force import PolicyInForce
from handfast_sidecar.policy.verdict import Verdict
from handfast_sidecar.traffic.connection import Connection
from handfast_sidecar.traffic.endpoint_choice import EndpointChoice
from handfast_sidecar.traffic.permission import plaintext_permission
from handfast_sidecar.traffic.plain import PlainRelay
from handfast_sidecar.traffic.reach import Answers
from handfast_sidecar.traffic.routing import Plain, Refuse, Route


class Plaintext:
    """Knows every outbound connection of the pod that is not encrypted."""

    def __init__(
        self,
        policy: PolicyInForce,
        directory: Answers,
        choice: EndpointChoice,
        audited: Callable[[Connection], None],
    ) -> None:
        """`audited` is called with each connection that passes only because the policy does no more than audit."""
        self._policy, self._directory, self._choice, self._audited = policy, directory, choice, audited
        self._open: dict[PlainRelay, AddressAnswer | None] = {}
        """With what the directory said of the destination, which it may forget."""

    def permitted(self, connection: Connection, chosen: Route) -> Route:
        """The route; where it is plaintext that the policy refuses, an endpoint with a sidecar, or the refusal."""
        if not isinstance(chosen, Plain):
            return chosen
        refusal = self.refusal(connection)
        if refusal is None:
            return chosen
        meshed = self._meshed(connection) if chosen.endpoint is not None else None
        return meshed or refusal

    def refusal(self, connection: Connection) -> Refuse | None:
        """Why it may not go out unencrypted now."""
        verdict = self._verdict(connection, self._directory.known(connection.destination))
        if verdict is None:
            return None
        if verdict.audited:
            if not connection.audited:
                connection.rule, connection.audited, connection.detail = verdict.rule, verdict.reason, verdict.sentence
                self._audited(connection)
            return None
        return Refuse(verdict.reason, verdict.sentence, verdict.rule)

    def opened(self, relay: PlainRelay) -> None:
        """It is carried."""
        self._open[relay] = self._directory.known(relay.connection.destination)

    def ended(self, relay: PlainRelay) -> None:
        """It is over; a relay that was not told of is passed over."""
        self._open.pop(relay, None)

    def open(self) -> Collection[PlainRelay]:
        """What is carried."""
        return self._open.keys()

    def forbidden(self, relay: PlainRelay) -> Verdict | None:
        """Why one that is carried may not stay; one that is over may."""
        if relay not in self._open:
            return None
        connection = relay.connection
        verdict = self._verdict(connection, self._directory.known(connection.destination) or self._open[relay])
        return verdict if verdict is not None and not verdict.allowed else None

    def _verdict(self, connection: Connection, answer: AddressAnswer | None) -> Verdict | None:
        return plaintext_permission(self._policy.policy, answer, connection.destination, connection.destination_port)

    def _meshed(self, connection: Connection) -> Route | None:
        """To an endpoint with a sidecar, of a Service that has some without."""
        answer, port = self._directory.known(connection.destination), connection.destination_port
        if not isinstance(answer, ServiceAddress):
            return None
        plain = {each for each in answer.ports.get(port, ()) if each.transport is Transport.PLAINTEXT}
        return self._choice.other(answer, port, self._directory.place, plain)
