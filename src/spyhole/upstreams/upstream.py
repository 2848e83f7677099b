"""An upstream: a name and the servers behind it, taken in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spyhole.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spyhole.upstreams.address import Address


class Upstream:
    """Servers in round robin. Each worker has its own, so the turn is not shared and needs no lock.

    A server that is listed twice gets two turns in each round.
    """

    __slots__ = ("_distinct", "_turn", "name", "servers")

    def __init__(self, name: str, servers: Iterable[Address]) -> None:
        self.name = name
        self.servers = tuple(servers)
        if not self.servers:
            raise OperatorError(f"upstream {name!r} has no servers: add an address to `servers`")
        self._turn = 0
        self._distinct = len(set(self.servers)) == len(self.servers)

    def begin_with(self, number: int) -> None:
        """Give the next turn to server `number`, counted round: a worker gives its own number, so that few
        connections spread over many workers do not all go to the first server."""
        self._turn = number % len(self.servers)

    def pick(self) -> Address:
        """The server whose turn it is."""
        turn = self._turn
        self._turn = turn + 1 if turn + 1 < len(self.servers) else 0
        return self.servers[turn]

    def candidates(self) -> tuple[Address, ...]:
        """Every server once, the one whose turn it is first: the order to try when one refuses.

        Takes one turn, as `pick` does, however many of them are then tried.
        """
        servers = self.servers
        if len(servers) == 1:
            return servers
        turn = self._turn
        self.pick()
        ordered = servers[turn:] + servers[:turn]
        return ordered if self._distinct else tuple(dict.fromkeys(ordered))

    def __repr__(self) -> str:
        return f"<Upstream {self.name!r} of {', '.join(map(str, self.servers))}>"
