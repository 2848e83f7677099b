"""The client: plays one case against a proxy, and tells what came of it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spyhole.conformance.backends import GREETING, Backends, Connection, End
from spyhole.conformance.case import Case, Then
from spyhole.conformance.records import alert_in
from spyhole.conformance.scoring import Came

if TYPE_CHECKING:
    from spyhole.conformance.oracle import OpenSsl

_CONNECT: Final = 30.0
"""Seconds, for a proxy that is busy."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A running proxy, and what stands behind it."""

    host: str
    port: int
    backends: Backends
    deadline: float
    """Seconds that the proxy gives a client for its hello."""
    patience: float
    """Seconds beyond that, after which the proxy has left a connection open."""
    connecting: asyncio.Semaphore
    """So that no queue of connections to be accepted overflows."""

    @property
    def longest(self) -> float:
        """Seconds from connecting after which it has been left open."""
        return self.deadline + self.patience


class Link(End):
    """The client's end of a connection to the proxy."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.backend: Connection | None = None
        """Where it was routed to."""
        self.began = time.monotonic()
        self.took = 0.0
        """Seconds until it was routed or ended."""
        self.problem = ""
        """What a script finds wrong with what came through."""
        self.consumed = 0
        """Bytes of what came that a script has read, before the last record."""

    @classmethod
    async def open(cls, stage: Stage) -> Link:
        """Connect to the proxy. The caller closes it. Raises OSError."""
        loop = asyncio.get_running_loop()
        async with stage.connecting, asyncio.timeout(_CONNECT):
            _, link = await loop.create_connection(lambda: cls(stage), stage.host, stage.port)
        return link

    @property
    def decided(self) -> bool:
        return self.backend is not None or self.ended

    @property
    def answer(self) -> bytes:
        """What came from the backend behind its greeting; or else from the proxy."""
        data = bytes(self.received)
        return GREETING.sub(b"", data, count=1) if self.backend is not None else data

    async def decision(self) -> bool:
        """Wait until it is routed or ended: until the deadline, and the patience with it, is over."""
        left = self.began + self.stage.longest - time.monotonic()
        return await self.until(lambda: self.decided, max(left, 0.001))

    async def arrives(self, data: bytes) -> bool:
        """Whether exactly these bytes arrive at the backend."""
        connection = self.backend
        if connection is None:
            return False
        await connection.until(
            lambda: len(connection.received) >= len(data) or connection.ended, self.stage.patience
        )
        return bytes(connection.received) == data

    def routed_to(self, backend: Connection | None) -> None:
        """The client has seen where it was routed, if it was."""
        self.backend = backend
        if backend is not None:
            backend.claimed = True

    def _changed(self) -> None:
        if self.backend is None and self.received:
            self.routed_to(self.stage.backends.greeted(bytes(self.received)))
        if self.decided and not self.took:
            self.took = time.monotonic() - self.began
        super()._changed()


class TooSlow(Exception):
    """The client itself did not send its hello within the deadline, so it says nothing of the proxy."""


async def play(case: Case, stage: Stage, oracle: OpenSsl) -> Came:
    """One connection, from its beginning to its end. Raises TooSlow."""
    try:
        link = await Link.open(stage)
    except OSError as error:
        return Came(ended=True, note=f"can't connect: {error or 'it takes too long'}")
    try:
        if case.script is not None:
            await case.script(link, oracle)
            await link.decision()
            intact = not link.problem
        else:
            await _send(case, link)
            sent = time.monotonic() - link.began
            if sent > stage.deadline > case.takes and link.backend is None:
                raise TooSlow
            if case.then is Then.RESET:
                # whether it got anywhere, the backends tell afterwards
                link.abort()
                return Came(ended=True)
            await link.decision()
            intact = await link.arrives(case.wire)
        if link.backend is not None:
            return Came(link.backend.label, intact, seconds=link.took, note=link.problem)
        took = link.took or time.monotonic() - link.began
        said = bytes(link.received[link.consumed :])
        alert = alert_in(said)
        answered = bool(said) and alert is None
        note = f"it said {said[:24]!r}" if answered else link.problem
        early = link.ended and took < stage.deadline / 2
        return Came(None, True, link.ended, answered, alert, took, early, note)
    finally:
        link.close()
        if link.backend is not None:
            link.backend.close()


async def _send(case: Case, link: Link) -> None:
    for piece in case.pieces or (case.wire,):
        if link.decided:
            break
        link.send(piece)
        if case.pieces:
            await link.until(lambda: link.decided, max(case.gap, 0.0005))
    if case.then is Then.FIN:
        link.finish()
