"""What `spyhole explain` says: the outcome of one knock, as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from spyhole import refusal
from spyhole.certs.store import CertificateErrors, CertificateStore
from spyhole.config.routes import routes_of, upstreams_of
from spyhole.outcome import Reason
from spyhole.refusal import Refusal
from spyhole.routing.conditions import shown_protocol
from spyhole.routing.host_names import InvalidServerName, shortened
from spyhole.routing.route import Mode, Route
from spyhole.routing.table import RouteTable
from spyhole.wire.alerts import Alert

if TYPE_CHECKING:
    from spyhole.certs.certificate import Certificate
    from spyhole.certs.choose import Choice
    from spyhole.config.model import Config
    from spyhole.routing.explain import Explanation, Tried
    from spyhole.upstreams.upstream import Upstream
    from spyhole.wire.client_hello import ClientHelloError


class Knock(NamedTuple):
    """What the client sends, as far as routing looks at it; or the error that ends the connection there."""

    server_name: str | None
    alpn: tuple[bytes, ...] = ()
    tls: bool = True
    versions: tuple[int, ...] = ()
    """TLS versions that it offers; empty when not known."""
    error: ClientHelloError | InvalidServerName | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "server_name": self.server_name,
            "alpn": [shown_protocol(protocol) for protocol in self.alpn],
            "tls": self.tls,
        }

    def __str__(self) -> str:
        if not self.tls:
            return "a client that does not speak TLS"
        if self.error is not None:
            sent = self.error.raw if isinstance(self.error, InvalidServerName) else self.error.server_name
            return "a client whose hello is refused" + (f" ({shortened(sent)})" if sent else "")
        name = "a client that sends no server name" if self.server_name is None else self.server_name
        offered = f"offers {', '.join(map(shown_protocol, self.alpn))}" if self.alpn else "offers no ALPN"
        return f"{name} ({offered})"


class Answer(NamedTuple):
    """The outcome on one listener, or on several that agree."""

    listeners: tuple[str, ...]
    client: str | None
    explanation: Explanation | None
    """None when it does not come to a decision."""
    refusal: Refusal | None
    """None when it is carried."""
    why: str
    """The decision in words, for one that is carried."""
    upstream: Upstream | None
    choice: Choice[Certificate] | None
    """The certificates that are served, of which the client takes one; for a route that terminates."""

    def same_as(self, other: Answer) -> bool:
        if self.explanation is None or other.explanation is None:
            return self.explanation is other.explanation
        return self.explanation.decision.rule is other.explanation.decision.rule

    def fails_on(self, key: str) -> bool:
        """Whether a rule that was tried has a condition of this key that did not hold."""
        return self.explanation is not None and any(
            condition.key == key and not condition.holds
            for tried in self.explanation.tried
            for condition in tried.conditions
        )

    def to_json(self) -> dict[str, Any]:
        told = {} if self.explanation is None else self.explanation.to_json()
        return {
            "listeners": list(self.listeners),
            "outcome": "refused" if self.refusal else "routed",
            "reason": self.refusal.reason.value if self.refusal else None,
            "detail": self.refusal.detail if self.refusal else self.why,
            "alert": None
            if self.refusal is None or self.refusal.alert is None
            else {"code": int(self.refusal.alert), "name": self.refusal.alert.name.lower()},
            "route": told.get("route"),
            "mode": told.get("mode"),
            "certificates": [_as_json(one) for one in self.choice.certificates] if self.choice else [],
            "default_certificate": self.choice.is_default if self.choice else None,
            "upstream": None
            if self.upstream is None
            else {
                "name": self.upstream.name,
                "servers": [str(server) for server in self.upstream.servers],
            },
            "tried": told.get("tried", []),
            "near_misses": told.get("near_misses", []),
        }

    def as_text(self, knock: Knock, *, name_listeners: bool) -> str:
        where = f", on {' and '.join(map(repr, self.listeners))}" if name_listeners else ""
        by = f", from {self.client}" if self.client else ""
        lines = [f"{knock}{by}{where}", *(f"  {line}" for line in self._outcome())]
        if self.explanation is not None:
            lines += _rules(self.explanation)
        return "\n".join(lines)

    def _outcome(self) -> list[str]:
        lines = []
        if self.refusal is not None:
            reason, detail, alert = self.refusal
            sent = f"alert {alert.name.lower()} ({int(alert)})" if alert else "no alert"
            lines += [f"is refused: {reason.value}, {sent}", f"because      {detail}"]
        if self.explanation is not None and (route := self.explanation.decision.route) is not None:
            if self.refusal is None:
                lines.append(f"is carried by route {route.name!r}")
                lines.append(f"because      {self.why}")
            lines.append(f"mode         {route.mode.value}")
        if self.choice is not None:
            for certificate in self.choice.certificates:
                names = ", ".join(certificate.names) or "no name"
                for_want = ", the default: none covers the name" if self.choice.is_default else ""
                lines.append(f"certificate  {certificate.cert} ({certificate.key_type}: {names}{for_want})")
        if self.upstream is not None:
            servers = ", ".join(map(str, self.upstream.servers))
            named = "" if servers == self.upstream.name else f"{self.upstream.name}: "
            lines.append(f"upstream     {named}{servers}")
        return lines


class Doors:
    """A configuration, made ready to answer."""

    def __init__(self, config: Config) -> None:
        self.table = RouteTable(routes_of(config))
        self.error: CertificateErrors | None = None
        """Why a certificate that is asked for can't be told."""
        self._config = config
        self._upstreams = upstreams_of(config)
        self._store: CertificateStore | None = None

    def answer(self, knock: Knock, client: str | None, listener: str) -> Answer:
        if knock.error is not None:
            return Answer((listener,), client, None, refusal.of_hello(knock.error), "", None, None)
        told = self.table.explain(knock.server_name, knock.alpn, client, listener, tls=knock.tls)
        decision = told.decision
        route = decision.route
        refused = None
        if decision.refusal is not None:
            refused = refusal.of_decision(decision, knock.alpn, client, listener)
        choice = None
        if route is not None and route.mode is Mode.TERMINATE:
            choice = self._choose(knock.server_name)
            if choice is None and self.error is None:
                refused = refusal.of_no_certificate(knock.server_name)
            elif self._too_old(route, knock):
                lowest = route.min_version or self._config.min_version
                # In the proxy OpenSSL says so, in the handshake and in words of its own.
                refused = Refusal(
                    Reason.HANDSHAKE_FAILED,
                    f"the client offers no TLS {lowest} or later",
                    Alert.PROTOCOL_VERSION,
                )
        upstream = None if route is None or route.upstream is None else self._upstreams[route.upstream]
        return Answer((listener,), client, told, refused, decision.why, upstream, choice)

    def _choose(self, server_name: str | None) -> Choice[Certificate] | None:
        """The certificates for the name. Read only now: who asks may not be allowed to read keys."""
        try:
            if self._store is None:
                self._store = CertificateStore.load(self._config.certificates, ())
        except CertificateErrors as error:
            self.error = error
            return None
        return self._store.choose(server_name)

    def _too_old(self, route: Route, knock: Knock) -> bool:
        lowest = _VERSIONS[route.min_version or self._config.min_version]
        return bool(knock.versions) and max(knock.versions) < lowest


_VERSIONS: Final = {"1.2": 0x0303, "1.3": 0x0304}


def _as_json(certificate: Certificate) -> dict[str, Any]:
    return {
        "cert": str(certificate.cert),
        "key_type": certificate.key_type,
        "names": list(certificate.names),
        "not_after": certificate.not_after.isoformat(),
    }


def _rules(told: Explanation) -> list[str]:
    lines = ["", "Rules tried, the most specific first:" if told.tried else "No rule was tried."]
    for number, tried in enumerate(told.tried, start=1):
        lines += _rule(number, tried)
    if told.near_misses:
        lines += ["", "Rules that come close:"]
        lines += [f"  {miss}" for miss in told.near_misses]
    return lines


def _rule(number: int, tried: Tried) -> list[str]:
    verdict = "taken" if tried.taken else "passed over"
    lines = [f"{number:>3}. {tried.rule} of route {tried.rule.route.name!r}: {verdict}"]
    return lines + [
        f"       {'yes' if condition.holds else 'no':3}  {condition.key}: {condition.why}"
        for condition in tried.conditions
    ]
