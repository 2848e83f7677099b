"""One configuration, ready to serve. Immutable, but for the turns of the upstreams' servers.

A connection keeps the snapshot that it started with; a new configuration is a new snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spyhole.certs.context import TlsPolicy
from spyhole.certs.store import CertificateStore
from spyhole.config.routes import routes_of, upstreams_of
from spyhole.routing.route import Mode
from spyhole.routing.table import RouteTable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from spyhole.config.model import Config
    from spyhole.routing.route import Route
    from spyhole.upstreams.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a worker serves by. `build` reads the certificates; afterwards nothing is read from disk."""

    config: Config
    table: RouteTable
    upstreams: Mapping[str, Upstream]
    _certificates: CertificateStore
    _policies: Mapping[str, TlsPolicy]
    """By the name of the route: a `Route` would be hashed field by field for each connection."""

    @classmethod
    def build(cls, config: Config) -> Snapshot:
        """Raises OperatorError for certificates and keys that can't be used."""
        routes = routes_of(config)
        policies = {
            route.name: TlsPolicy(
                route.min_version or config.min_version, tuple(p for p in route.alpn if p)
            )
            for route in routes
            if route.mode is Mode.TERMINATE
        }
        certificates = CertificateStore.load(config.certificates, set(policies.values()))
        return cls(config, RouteTable(routes), upstreams_of(config), certificates, policies)

    def context(self, route: Route, server_name: str | None) -> ssl.SSLContext | None:
        """The context to terminate with, for a name on a route; None when no certificate covers it."""
        return self._certificates.context(server_name, self._policies[route.name])
