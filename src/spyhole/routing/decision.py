"""What the table answers: the route, if any, and the rule that chose it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from spyhole.outcome import Reason
from spyhole.routing.patterns import PatternKind
from spyhole.routing.route import Mode, Route

if TYPE_CHECKING:
    from spyhole.routing.conditions import Conditions


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One name of one route, with the route's other conditions: what is tried on a connection."""

    route: Route
    kind: PatternKind
    text: str
    """The pattern as the operator would write it; `tls = false` for a route of that kind."""
    conditions: Conditions

    def __str__(self) -> str:
        if not self.route.tls:
            return self.text
        return f"{'sni_regex' if self.kind is PatternKind.REGEX else 'sni'} {self.text!r}"


class Decision(NamedTuple):
    """The answer for one connection. A tuple, because one is made for each connection."""

    route: Route | None
    """None: nothing matched, and the connection is refused."""
    server_name: str | None
    rule: Rule | None
    tls: bool
    refusal: Reason | None
    """Why the connection is refused; None when it is carried."""
    almost: Rule | None = None
    """Where nothing matched: the first rule whose name did, and another condition did not hold; one for the
    connection's listener, if there is any."""

    @classmethod
    def to(cls, rule: Rule, server_name: str | None, tls: bool) -> Decision:
        """`rule` takes the connection."""
        route = rule.route
        return cls(route, server_name, rule, tls, Reason.REJECTED if route.mode is Mode.REJECT else None)

    @classmethod
    def none(cls, server_name: str | None, tls: bool, almost: Rule | None) -> Decision:
        """No rule does."""
        return cls(None, server_name, None, tls, Reason.NO_ROUTE if tls else Reason.NOT_TLS, almost)

    @property
    def why(self) -> str:
        """The decision in words, for a log's detail or a person."""
        if self.rule is not None:
            return f"{self.rule} of route {self.rule.route.name!r}"
        if not self.tls:
            return "it is not TLS, and no route with `tls = false` takes it"
        if self.server_name is None:
            return "it sends no server name, and no route for '*' takes it"
        return f"no route takes {self.server_name!r}"
