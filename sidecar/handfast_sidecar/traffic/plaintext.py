"""Outbound connections without encryption: asked about before the dial, after it, and when the policy changes."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from handfast_sidecar.directory.messages import AddressAnswer, Endpoint, ServiceAddress, Transport
from handfast_sidecar.policy.in_force import PolicyInForce
from handfast_sidecar.policy.verdict import Verdict
from handfast_sidecar.traffic.connection import Connection
from handfast_sidecar.traffic.endpoint_choice import EndpointChoice
from handfast_sidecar.traffic.live import Live
from handfast_sidecar.traffic.permission import plaintext_permission
from handfast_sidecar.traffic.plain import PlainRelay
from handfast_sidecar.traffic.reach import Answers
from handfast_sidecar.traffic.routing import Plain, Refuse, Route


@dataclass(frozen=True, slots=True)
class _Carried:
    answer: AddressAnswer | None
    """What the directory said of the destination, which it may forget."""
    endpoint: tuple[str, int] | None
    """Whose load it is."""


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
        self._open: dict[PlainRelay, _Carried] = {}
        self._loads: Counter[tuple[str, int]] = Counter()
        """Connections to endpoints of Services that are reached in plaintext, beside meshed ones."""
        self._live: Live[PlainRelay] = Live(self._open.keys, self._look_again)

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

    def opened(self, relay: PlainRelay, endpoint: Endpoint | None) -> None:
        """It is carried; to an endpoint that we chose, it counts as its load until it ends."""
        at = None
        if endpoint is not None:
            at = (endpoint.address, endpoint.port)
            self._loads[at] += 1
        self._open[relay] = _Carried(self._directory.known(relay.connection.destination), at)

    def ended(self, relay: PlainRelay) -> None:
        """It is over; a relay that was not told of is passed over."""
        carried = self._open.pop(relay, None)
        if carried is not None and carried.endpoint is not None:
            self._loads[carried.endpoint] -= 1
            if not self._loads[carried.endpoint]:
                del self._loads[carried.endpoint]

    def load(self, endpoint: Endpoint) -> int:
        """Open connections to an endpoint."""
        return self._loads.get((endpoint.address, endpoint.port), 0)

    def rejudge(self) -> None:
        """End what the policy refuses now, within a second."""
        self._live.start()

    def _look_again(self, relay: PlainRelay) -> None:
        """One that is over may stay."""
        carried = self._open.get(relay)
        if carried is None:
            return
        connection = relay.connection
        verdict = self._verdict(connection, self._directory.known(connection.destination) or carried.answer)
        if verdict is not None and not verdict.allowed:
            self._live.end(relay, verdict.rule, verdict.sentence)

    def _verdict(self, connection: Connection, answer: AddressAnswer | None) -> Verdict | None:
        return plaintext_permission(self._policy.policy, answer, connection.destination, connection.destination_port)

    def _meshed(self, connection: Connection) -> Route | None:
        """To an endpoint with a sidecar, of a Service that has some without."""
        answer, port = self._directory.known(connection.destination), connection.destination_port
        if not isinstance(answer, ServiceAddress):
            return None
        plain = {each for each in answer.ports.get(port, ()) if each.transport is Transport.PLAINTEXT}
        return self._choice.other(answer, port, self._directory.place, plain)
