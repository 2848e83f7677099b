"""What a client that is refused gets: the reason and the detail for the log, and the alert.

One function for each way in which looking at a hello can end in a refusal. The running proxy and `explain`
both take it from here, so that what is foretold is what happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from spyhole.outcome import Reason
from spyhole.routing.conditions import Question
from spyhole.routing.host_names import InvalidServerName
from spyhole.wire.alerts import Alert
from spyhole.wire.client_hello import ClientHelloError, Fault

if TYPE_CHECKING:
    from spyhole.routing.decision import Decision

_TOO_LARGE: Final = frozenset({Fault.HELLO_TOO_LARGE, Fault.TOO_MANY_EMPTY_RECORDS})


class Refusal(NamedTuple):
    """Why a connection is not carried."""

    reason: Reason
    detail: str
    alert: Alert | None
    """None for a client that does not speak TLS."""


def of_hello(error: ClientHelloError | InvalidServerName) -> Refusal:
    """The hello is one that OpenSSL refuses too, or its name is no host name."""
    if isinstance(error, InvalidServerName):
        return Refusal(Reason.INVALID_SERVER_NAME, error.problem, Alert.UNRECOGNIZED_NAME)
    reason = Reason.HELLO_TOO_LARGE if error.reason in _TOO_LARGE else Reason.MALFORMED_HELLO
    return Refusal(reason, f"{error.reason}: {error.detail}", error.alert)


def of_decision(decision: Decision, alpn: tuple[bytes, ...], client: str | None, listener: str) -> Refusal:
    """For a decision whose `refusal` is not None, and what the table was asked for it."""
    reason = decision.refusal
    assert reason is not None
    detail, rule = decision.why, decision.almost
    alert = Alert.UNRECOGNIZED_NAME if decision.tls else None
    if rule is not None:
        conditions = rule.conditions.examine(Question(alpn, client, listener))
        failed = [condition for condition in conditions if not condition.holds]
        detail += f"; {rule} of route {rule.route.name!r} would, but for {failed[0].key}: {failed[0].why}"
        if alpn and [condition.key for condition in failed] == ["alpn"]:  # RFC 7301, 3.2
            alert = Alert.NO_APPLICATION_PROTOCOL
    return Refusal(reason, detail, alert)


def of_no_certificate(server_name: str | None) -> Refusal:
    """The route terminates TLS, and nothing can be served for the name."""
    name = server_name or "a client without a name"
    return Refusal(
        Reason.NO_CERTIFICATE,
        f"no certificate covers {name}, and none is the default",
        Alert.UNRECOGNIZED_NAME,
    )
