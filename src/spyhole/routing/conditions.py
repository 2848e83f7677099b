"""What a route asks for besides the name: listener, client network, ALPN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spyhole.routing.networks import IpAddress, NetworkSet, parse_client

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spyhole.routing.route import Route


class Question:
    """The facts of one connection that conditions look at. The address is parsed when first asked for."""

    __slots__ = ("_address", "alpn", "client", "listener")

    def __init__(self, alpn: tuple[bytes, ...], client: str | None, listener: str) -> None:
        self.alpn = alpn
        self.client = client
        self.listener = listener
        self._address: IpAddress | None = None

    @property
    def address(self) -> IpAddress | None:
        """The client's; None when it came over a unix socket."""
        if self._address is None and self.client is not None:
            self._address = parse_client(self.client)
        return self._address


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a route on one connection: did it hold, and why."""

    key: str
    """The key of the configuration that asks for it."""
    holds: bool
    why: str


class Conditions:
    """The conditions of one route, compiled. `hold` decides and `examine` tells, by the same predicates."""

    __slots__ = ("_alpn", "_alpn_or_none", "_listeners", "_networks", "unconditional")

    def __init__(self, route: Route) -> None:
        self._listeners = frozenset(route.listeners)
        self._networks = NetworkSet(route.networks) if route.networks else None
        self._alpn = frozenset(protocol.encode() for protocol in route.alpn if protocol)
        self._alpn_or_none = "" in route.alpn
        self.unconditional = not (route.listeners or route.networks or route.alpn)

    def hold(self, question: Question) -> bool:
        """Whether every one of them holds; the cheapest is looked at first."""
        return self.unconditional or (
            self.on_listener(question) and self._alpn_holds(question) and self._from_holds(question)
        )

    def on_listener(self, question: Question) -> bool:
        """Whether the route is for the connection's listener at all."""
        return not self._listeners or question.listener in self._listeners

    def examine(self, question: Question) -> tuple[Condition, ...]:
        """Each condition that the route has, in the order in which `hold` looks at them."""
        found = []
        if self._listeners:
            found.append(self._examine_listener(question))
        if self._alpn or self._alpn_or_none:
            found.append(self._examine_alpn(question))
        if self._networks is not None:
            found.append(self._examine_from(question))
        return tuple(found)

    def _alpn_holds(self, question: Question) -> bool:
        if not question.alpn:
            return self._alpn_or_none or not self._alpn
        # a route whose only protocol is "" takes clients that offer none, and no others
        return not self._alpn.isdisjoint(question.alpn) or not (self._alpn or self._alpn_or_none)

    def _from_holds(self, question: Question) -> bool:
        if self._networks is None:
            return True
        address = question.address
        return address is not None and address in self._networks

    def _examine_listener(self, question: Question) -> Condition:
        holds = self.on_listener(question)
        verb = "is" if holds else "is not"
        return Condition(
            "listener", holds, f"{question.listener!r} {verb} {_one_of(map(repr, self._listeners))}"
        )

    def _examine_alpn(self, question: Question) -> Condition:
        holds = self._alpn_holds(question)
        offered = _listed(list(map(shown_protocol, question.alpn)), ", ") or "none"
        asked = sorted(map(shown_protocol, self._alpn))
        wants = " or ".join([*asked, "no ALPN"] if self._alpn_or_none else asked)
        why = f"the client offers {offered}; the route asks for {wants}"
        if not holds and not question.alpn:
            why += '; add "" to take clients that offer none'
        return Condition("alpn", holds, why)

    def _examine_from(self, question: Question) -> Condition:
        holds = self._from_holds(question)
        assert self._networks is not None
        wanted = _one_of(map(str, self._networks.networks))
        if question.address is None:
            return Condition("from", holds, f"the client has no IP address to be in {wanted}")
        return Condition("from", holds, f"{question.address} {'is' if holds else 'is not'} in {wanted}")


def shown_protocol(protocol: bytes) -> str:
    """An ALPN identifier for people: as text where it is printable ASCII, else in hexadecimal."""
    text = protocol.decode("latin-1")
    return text if text.isascii() and text.isprintable() and text else f"0x{protocol.hex()}"


def _one_of(texts: Iterable[str]) -> str:
    return _listed(sorted(texts), " or ")


def _listed(texts: list[str], between: str) -> str:
    """Not all of them: a peer may offer thousands of protocols, and this goes to a log."""
    more = [f"{len(texts) - 8} more"] if len(texts) > 8 else []
    return between.join(texts[:8] + more)
