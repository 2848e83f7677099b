"""A route, as the operator wrote it: whom it takes, and what is done with them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias

from spyhole.errors import OperatorError
from spyhole.routing.patterns import ANY, NamePattern

Network: TypeAlias = IPv4Network | IPv6Network


class Mode(StrEnum):
    """What is done with a connection that the route takes."""

    PASSTHROUGH = "passthrough"
    TERMINATE = "terminate"
    REJECT = "reject"


class RouteError(OperatorError, ValueError):
    """The keys of a route contradict each other."""


@dataclass(frozen=True, slots=True)
class Route:
    """One route. A condition that is empty holds for every connection; all that are given must hold."""

    name: str
    """The `name` key, or `routes[3]`, counted from 1 in the order of the file; unique."""
    sni: tuple[NamePattern, ...] = ()
    """Names, any of which will do. With `sni_regex` empty as well, and `tls`, the same as `*`."""
    sni_regex: tuple[str, ...] = ()
    """Regular expressions, any of which will do, matched against the whole lower-cased name."""
    alpn: tuple[str, ...] = ()
    """Protocols, of which the client must offer one; `""` stands for a client that offers none."""
    networks: tuple[Network, ...] = ()
    """The `from` key: networks, in one of which the client's address must be."""
    listeners: tuple[str, ...] = ()
    """Names of listeners, on one of which the connection must have come in."""
    tls: bool = True
    """False: takes connections that are not TLS, and only those."""
    mode: Mode = Mode.PASSTHROUGH
    upstream: str | None = None
    """A key into the snapshot's upstreams; a literal address is named by itself. None when rejecting."""
    min_version: str | None = None

    def __post_init__(self) -> None:
        if self.tls:
            return
        for key in ("sni", "sni_regex", "alpn", "min_version"):
            if getattr(self, key):
                raise RouteError(f"route {self.name!r}: `{key}` needs TLS: remove it, or `tls = false`")
        if self.mode is Mode.TERMINATE:
            raise RouteError(f"route {self.name!r}: mode 'terminate' needs TLS: use 'passthrough'")

    def __hash__(self) -> int:
        # routes are keys on the path of a connection, and one may have thousands of names
        return hash(self.name)

    @property
    def patterns(self) -> tuple[NamePattern, ...]:
        """The names that it takes, each once, in order, with what an empty `sni` stands for."""
        if not self.sni and not self.sni_regex:
            return (ANY,)
        return tuple(dict.fromkeys(self.sni))
