"""What a proxy should do with a hello, given what OpenSSL makes of it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from spyhole.conformance.alerts import alert_name
from spyhole.conformance.case import Case, Then
from spyhole.conformance.oracle import Outcome, Verdict

if TYPE_CHECKING:
    from spyhole.conformance.routes import Routes


class Expected(NamedTuple):
    """Each of `backends` is right; so is a refusal if `refusal`, and then by `alert`, if one is owed.

    `waits`: OpenSSL wants more than the client sends, so there is nothing to do but to end it in time.
    """

    backends: frozenset[str]
    refusal: bool = False
    alert: int | None = None
    waits: bool = False

    @property
    def legal(self) -> bool:
        """Whether to refuse it is wrong."""
        return not self.refusal

    def __str__(self) -> str:
        ways = [f"to {' or '.join(sorted(self.backends))}"] if self.backends else []
        if self.waits:
            ways.append("ended in time")
        elif self.refusal:
            ways.append("refused" if self.alert is None else f"refused: {alert_name(self.alert)}")
        return ", or ".join(ways)


def expect(case: Case, verdict: Verdict, routes: Routes) -> Expected:
    """The rule: what OpenSSL accepts goes where its name belongs; what OpenSSL refuses goes nowhere, and
    the client is told by the same alert."""
    if case.backends is not None:
        return Expected(case.backends, refusal=case.may_refuse)
    if verdict.outcome is Outcome.WAITING:
        return Expected(frozenset(), refusal=True, waits=True)
    if verdict.outcome is Outcome.REFUSED:
        return Expected(frozenset(), refusal=True, alert=verdict.alert if case.tls else None)
    name = verdict.name if verdict.seen else case.server_name
    place = routes.place(name)
    may_refuse = (
        case.may_refuse
        or place.may_refuse
        or verdict.outcome is Outcome.UNSUITED  # a server's settings are not the proxy's; some guess them
        or case.then is Then.RESET  # nobody is left to be carried
    )
    return Expected(frozenset({place.backend}), refusal=may_refuse)
