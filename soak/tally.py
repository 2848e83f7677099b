"""What happened to every connection of a run, and whether it may have."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

FLUSHED: Final = 1.0
"""Seconds after which a connection that has ended is in the access log's file (four of its intervals)."""

Name = tuple[str, int]
"""A client's address and port: each connection of a run has another."""


@dataclass
class Connection:
    """One client connection. `carried`: bytes up and down that the log has to tell if it was sound."""

    kind: str
    began: float
    name: Name
    number: int
    ended: float = 0.0
    failure: str | None = None
    carried: tuple[int, int] | None = None
    mortal: bool = False
    """Its upstream may be killed."""
    wrong: bool = False
    """Bytes arrived that were not sent, which nothing excuses."""


@dataclass
class Kill:
    """A worker that was killed, and the connections that it had accepted; or an upstream."""

    began: float
    over: float = 0.0
    doomed: frozenset[Name] = frozenset()
    waiting: int = 0
    """Connections in the accept queues in that moment."""


@dataclass
class Tally:
    """Everything that is counted in a run; filled by many threads."""

    connections: dict[Name, Connection] = field(default_factory=dict)
    workers_killed: list[Kill] = field(default_factory=list)
    upstreams_killed: list[Kill] = field(default_factory=list)
    rotations: int = 0
    short: set[int] = field(default_factory=set)
    """Numbers of connections whose part the upstream took for the whole."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, name: Name, number: int) -> Connection:
        connection = Connection(kind, time.monotonic(), name, number)
        with self.lock:
            assert name not in self.connections
            self.connections[name] = connection
        return connection

    @property
    def doomed(self) -> set[Name]:
        return {name for kill in self.workers_killed for name in kill.doomed}

    def lost(self) -> list[Connection]:
        """Those that failed with the worker that was killed."""
        doomed = self.doomed
        return [c for c in self.connections.values() if c.failure and c.name in doomed]

    def cut_short(self) -> list[Connection]:
        """Those whose part passed for the whole at the upstream, but for what the kernel does to a kill."""
        doomed = self.doomed
        return [
            c
            for c in self.connections.values()
            if c.number in self.short and c.name not in doomed and not self.ended_with_a_worker(c)
        ]

    def ended_with_a_worker(self, connection: Connection) -> bool:
        """Whether a worker may have had the last of it still to do, when it was killed.

        A client that is gone leaves no trace in the kernel's table, and its socket is the worker's still; a
        line of the log is written a moment after the connection has ended.
        """
        return any(
            connection.began <= kill.over and connection.ended >= kill.began - FLUSHED
            for kill in self.workers_killed
        )

    def unexcused(self) -> list[Connection]:
        """Those that failed and may not have: neither their worker nor their upstream was killed."""
        doomed = self.doomed
        return [
            c
            for c in self.connections.values()
            if c.wrong
            or (c.failure and c.name not in doomed and not (c.mortal and self._overlaps_a_kill(c)))
        ]

    def by_kind(self) -> Counter[str]:
        return Counter(c.kind for c in self.connections.values() if not c.failure)

    def bytes_verified(self) -> int:
        return sum(sum(c.carried) for c in self.connections.values() if c.carried and not c.failure)

    def _overlaps_a_kill(self, connection: Connection) -> bool:
        return any(
            kill.began <= connection.ended and connection.began <= kill.over
            for kill in self.upstreams_killed
        )
