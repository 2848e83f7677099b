"""Warnings about a valid configuration: what it says can hardly be what was meant.

Only what can be seen without reading certificates; those have `certs/lint.py`.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spyhole.config.problems import At, Finding, Severity
from spyhole.config.routes import routes_of
from spyhole.routing.shadow import dead_names, shadowed
from spyhole.upstreams.address import TcpAddress

if TYPE_CHECKING:
    from spyhole.config.model import Config
    from spyhole.config.positions import Path as Place
    from spyhole.routing.route import Route


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine lets this process do."""

    lowest_port: int
    """The lowest port that it may bind."""
    is_root: bool

    @classmethod
    def here(cls) -> Machine:
        """This machine, as seen by this process."""
        return cls(_lowest_port(), os.geteuid() == 0)


def lint(config: Config, machine: Machine | None = None) -> list[Finding]:
    """The warnings, in no particular order; `machine` is this one unless given."""
    return [
        *_routes_never_chosen(config),
        *_upstreams_never_used(config),
        *_ports(config, machine or Machine.here()),
        *_user(config, machine or Machine.here()),
        *_key_files(config),
    ]


def warning(path: Place, code: str, message: str, hint: str | None = None, at: At = "value") -> Finding:
    """A finding that is not an error."""
    return Finding(path, code, message, hint=hint, at=at, severity=Severity.WARNING)


def _routes_never_chosen(config: Config) -> Iterator[Finding]:
    routes = routes_of(config)
    places = {id(route): index for index, route in enumerate(routes)}
    whole = set()
    for route, _, why in shadowed(routes):
        whole.add(id(route))
        yield warning(
            ("routes", places[id(route)]),
            "route-never-chosen",
            f"{_called(route)} can never be chosen",
            why,
            "table",
        )
    for route, name, by in dead_names(routes):
        if id(route) in whole:
            continue
        path: Place = ("routes", places[id(route)])
        for key, texts in (("sni", list(map(str, route.sni))), ("sni_regex", list(route.sni_regex))):
            if name in texts:
                path = (*path, key, texts.index(name))
                break
        yield warning(
            path,
            "name-never-chosen",
            f"{name!r} never leads here",
            f"the earlier {_called(by)} takes it, with equal or wider conditions",
        )


def _called(route: Route) -> str:
    return route.name if route.name.startswith("routes[") else f"route {route.name!r}"


def _upstreams_never_used(config: Config) -> Iterator[Finding]:
    used = {route.upstream for route in config.routes}
    for name in config.upstreams:
        if name not in used:
            yield warning(
                ("upstreams", name), "unused-upstream", f"no route uses the upstream {name!r}", at="key"
            )


def _ports(config: Config, machine: Machine) -> Iterator[Finding]:
    for number, listener in enumerate(config.listeners):
        for index, address in enumerate(listener.bind):
            if isinstance(address, TcpAddress) and 0 < address.port < machine.lowest_port:
                yield warning(
                    ("listeners", number, "bind", index),
                    "low-port",
                    f"this user may not bind port {address.port}",
                    "run it as root with `user` set, or with the capability CAP_NET_BIND_SERVICE, "
                    f"or lower net.ipv4.ip_unprivileged_port_start to {address.port}",
                )


def _user(config: Config, machine: Machine) -> Iterator[Finding]:
    if config.user is None:
        return
    try:
        pwd.getpwnam(config.user)
    except KeyError:
        yield warning(("user",), "unknown-user", f"there is no user {config.user!r} on this machine")
        return
    if not machine.is_root:
        yield warning(("user",), "not-root", "only root can change to another user", "leave `user` out")


def _key_files(config: Config) -> Iterator[Finding]:
    for index, certificate in enumerate(config.certificates):
        try:
            mode = Path(certificate.key).stat().st_mode
        except (OSError, ValueError):
            continue  # that it can't be read is an error, and told by who reads it
        if stat.S_ISREG(mode) and mode & stat.S_IROTH:
            yield warning(
                ("certificates", index, "key"),
                "readable-key",
                "every user of this machine can read this private key",
                f"chmod o-r {certificate.key}",
            )


_CAP_NET_BIND_SERVICE: Final = 10


def _lowest_port() -> int:
    try:
        capabilities = Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0]
        if int(capabilities, 16) >> _CAP_NET_BIND_SERVICE & 1:
            return 0
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except (OSError, ValueError, IndexError):
        return 1024
