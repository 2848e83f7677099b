"""A case: what a client does, why it matters, and how bad it is to get it wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from spyhole.described import Described

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from spyhole.conformance.client import Link
    from spyhole.conformance.oracle import OpenSsl


class Severity(StrEnum):
    """What it can cost when a proxy gets it wrong."""

    HIGH = "high"
    """Somebody gets where another policy applies, or is shown to the wrong server."""
    MEDIUM = "medium"
    """Clients that are right are turned away, or a connection is held for ever."""
    LOW = "low"
    """A server sees what it refuses anyway."""


class Then(Enum):
    """What the client does when it has sent all."""

    HOLD = "holds the connection open"
    FIN = "ends its direction"
    RESET = "resets the connection"


class Group(Described):
    """The groups, in the order in which they are shown."""

    CUTS = "cuts", "one hello, cut over segments and records in every way, and of every size"
    NAMES = "names", "server names, and what is none"
    LENGTHS = "lengths", "every length that says too much or too little, and what is left over"
    VERSIONS = "versions", "versions of records, of hellos, of TLS; other messages"
    MODERN = "modern", "Encrypted ClientHello, early data, pre-shared keys, HelloRetryRequest"
    TIME = "time", "silence, stalls, half-close and reset, at every byte"
    NOT_TLS = "not-tls", "other protocols"
    AFTERWARDS = "afterwards", "what is left of the proxy"


@dataclass(frozen=True, slots=True)
class Case:
    """What a client does.

    `wire` is all that it sends: what OpenSSL judges, and what a backend has to get, byte for byte. It goes
    out in `pieces` with `gap` seconds between them; without them, at once.
    """

    group: Group
    name: str
    why: str
    """What is at stake, and the section that says so."""
    wire: bytes = field(repr=False)
    severity: Severity = Severity.MEDIUM
    cve: str = ""
    """Where it went wrong before."""
    server_name: bytes | None = None
    """The name in it, for a hello that OpenSSL turns away before it comes to the name."""
    pieces: tuple[bytes, ...] = field(default=(), repr=False)
    gap: float = 0.0
    then: Then = Then.HOLD
    may_refuse: bool = False
    """OpenSSL takes it, but a proxy that refuses it is right too; `why` says why."""
    tls: bool = True
    """False: not TLS at all, so no alert is owed."""
    family: str = ""
    """Cases of one family are shown on one line when all of them come out the same."""
    script: Callable[[Link, OpenSsl], Awaitable[None]] | None = field(default=None, repr=False)
    """What the client does instead of sending `wire` and waiting."""
    terminates: bool = False
    """Needs a proxy that terminates TLS for two of its names."""
    backends: frozenset[str] | None = None
    """Where it belongs, for a script; otherwise the server name tells."""

    @property
    def has_time(self) -> bool:
        """The rest of it may still come, and be right: up to the deadline it is to be waited for."""
        return self.then is Then.HOLD and self.tls and not self.may_refuse

    @property
    def takes(self) -> float:
        """Seconds that the client means to take for sending it."""
        return self.gap * (len(self.pieces) - 1)

    def is_called(self, pattern: str) -> bool:
        """Whether the pattern is its group, or fits its name or its family's."""
        return pattern == self.group or any(fnmatchcase(name, pattern) for name in (self.name, self.family))
