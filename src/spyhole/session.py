"""One connection's life: peek, match, pass or terminate, dial, relay, close, log.

`session` is the page to read first. Each step is a function below it, which turns whatever can go wrong
into one `Refused`: who ended it, the reason, and the alert that the client gets.
"""

from __future__ import annotations

from functools import partial
from time import monotonic, time
from typing import TYPE_CHECKING

from spyhole import refusal
from spyhole.errors import PeerError
from spyhole.net.dial import DialError, dial
from spyhole.net.farewell import farewell
from spyhole.net.fiber import current_fiber
from spyhole.net.handshake import serve_tls
from spyhole.net.loop import ERROR
from spyhole.net.peek import ClosedEarly, peek, peek_now
from spyhole.net.relay import Cut, Relay
from spyhole.net.tls import TlsError, TlsTruncated
from spyhole.observe.record import ConnectionRecord, Greeting
from spyhole.outcome import EndedBy, Reason
from spyhole.routing.host_names import InvalidServerName, parse_server_name
from spyhole.routing.route import Mode, Route
from spyhole.wire.alerts import Alert
from spyhole.wire.client_hello import ClientHello, ClientHelloError, NotTls

if TYPE_CHECKING:
    from collections.abc import Callable

    from spyhole.net.stream import Stream
    from spyhole.refusal import Refusal
    from spyhole.snapshot import Snapshot


async def session(
    client: Stream, listener: str, snapshot: Snapshot, log: Callable[[ConnectionRecord], None] | None
) -> None:
    """Serve one accepted connection to its end, and hand `log` one record of it, whatever happens.

    Without a `log` what only a log needs is not made.
    """
    peer = "" if log is None else client.peer
    record = ConnectionRecord(time(), peer, listener, monotonic())
    config = snapshot.config
    alert: Alert | None = None
    try:
        hello = await _peek(client, snapshot, record)
        if hello is not None and log is not None:
            record.greeting = Greeting.of(hello)
        route, server_name = _match(hello, client, listener, snapshot, record)
        if route.mode is Mode.TERMINATE and hello is not None:
            await _terminate(client, hello, route, server_name, snapshot, record)
            if log is not None and client.tls is not None:
                record.tls_version, record.cipher = client.tls.version, client.tls.cipher
        tells_alerts = hello is not None and client.tls is None
        hello = None
        upstream = await _dial(route, client, tells_alerts, snapshot, record)
        ending = await Relay(client, upstream, config.idle_timeout, config.half_close_timeout)
        record.ended_by, record.reason, record.detail = ending.ended_by, ending.reason, ending.detail
        record.bytes_in, record.bytes_out = ending.bytes_up, ending.bytes_down
    except Refused as refused:
        alert = refused.alert
        record.ended_by, record.reason, record.detail = refused.ended_by, refused.reason, refused.detail
        record.alert = refused.alert if refused.alert is not None else refused.alert_sent
    except Cut as cut:
        record.ended_by, record.reason = EndedBy.PROXY, cut.reason
        client.reset()
    finally:
        record.t_end = monotonic()
        try:
            if log is not None:
                log(record)
        finally:  # a defect of the log's costs no descriptor
            if not client.closed:
                await _take_leave(client, alert, record)


class Refused(PeerError):
    """The connection is not carried. `alert` is yet to be sent, `alert_sent` was."""

    def __init__(
        self,
        reason: Reason,
        detail: str | None = None,
        *,
        ended_by: EndedBy = EndedBy.PROXY,
        alert: Alert | None = None,
        alert_sent: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.ended_by = ended_by
        self.alert = alert
        self.alert_sent = alert_sent

    @classmethod
    def by(cls, refusal: Refusal) -> Refused:
        """The client is refused for what its hello says."""
        return cls(refusal.reason, refusal.detail, alert=refusal.alert)


async def _peek(client: Stream, snapshot: Snapshot, record: ConnectionRecord) -> ClientHello | None:
    """The hello; None when the client does not speak TLS."""
    config = snapshot.config
    try:
        hello: ClientHello | NotTls | None = peek_now(client, config.max_hello_size)
        if hello is None:
            hello = await peek(
                client,
                config.hello_timeout,
                max_size=config.max_hello_size,
                max_empty_records=config.max_empty_records,
            )
    except ClientHelloError as error:
        record.server_name = error.server_name
        raise Refused.by(refusal.of_hello(error)) from None
    except TimeoutError:
        raise Refused(Reason.HELLO_TIMEOUT, f"{len(client.ahead)} bytes came") from None
    except ClosedEarly:
        raise Refused(
            Reason.CLIENT_CLOSED_EARLY,
            f"{len(client.ahead)} bytes came",
            ended_by=EndedBy.CLIENT,
            # what began as TLS; a client that only looks whether the port is open gets none
            alert=Alert.DECODE_ERROR if client.ahead else None,
        ) from None
    except OSError as error:
        raise _client_lost(error) from None
    finally:
        record.t_hello = monotonic()
    if not isinstance(hello, ClientHello):
        return None
    record.server_name = hello.server_name
    return hello


def _match(
    hello: ClientHello | None,
    client: Stream,
    listener: str,
    snapshot: Snapshot,
    record: ConnectionRecord,
) -> tuple[Route, str | None]:
    """The route, and the server name that chose it."""
    if hello is None:
        decision = snapshot.table.match(None, (), client.host, listener, tls=False)
    else:
        settled = snapshot.table.settled_by(hello.server_name)
        if settled is not None:
            decision = settled
        else:
            try:
                name = None if hello.server_name is None else parse_server_name(hello.server_name)
            except InvalidServerName as error:
                raise Refused.by(refusal.of_hello(error)) from None
            decision = snapshot.table.match(name, hello.alpn, client.host, listener)
    route = decision.route
    if route is not None:
        record.route, record.mode = route.name, route.mode
    if decision.refusal is not None:
        alpn = () if hello is None else hello.alpn
        raise Refused.by(refusal.of_decision(decision, alpn, client.host, listener))
    assert route is not None
    return route, decision.server_name


async def _terminate(
    client: Stream,
    hello: ClientHello,
    route: Route,
    server_name: str | None,
    snapshot: Snapshot,
    record: ConnectionRecord,
) -> None:
    """Serve TLS to the client, with the certificate for the name."""
    context = snapshot.context(route, server_name)
    if context is None:
        raise Refused.by(refusal.of_no_certificate(server_name))
    record.t_handshake_start = monotonic()
    try:
        await serve_tls(client, context, hello, snapshot.config.handshake_timeout)
    except TlsError as error:
        by_client = error.peer_alert is not None or isinstance(error, TlsTruncated)
        raise Refused(
            Reason.HANDSHAKE_FAILED,
            error.detail,
            ended_by=EndedBy.CLIENT if by_client else EndedBy.PROXY,
            alert_sent=error.alert,
        ) from None
    except TimeoutError:
        raise Refused(Reason.HANDSHAKE_TIMEOUT) from None
    except OSError as error:
        raise _client_lost(error) from None
    record.t_handshake = monotonic()


async def _dial(
    route: Route, client: Stream, tells_alerts: bool, snapshot: Snapshot, record: ConnectionRecord
) -> Stream:
    """Connect to the route's upstream: to the server whose turn it is, or else to the next."""
    assert route.upstream is not None
    config = snapshot.config
    record.t_connect_start = monotonic()
    # What a plain client has said goes out with the connection's opening.
    first = client.ahead if client.tls is None else b""
    give_up = partial(_give_up_with, client)
    # Not the errors themselves: their tracebacks lead here, and a cycle would keep the client's TLS engine.
    reason, detail = Reason.INTERNAL_ERROR, "no server to dial"
    for address in snapshot.upstreams[route.upstream].candidates():
        try:
            upstream = await dial(
                address,
                config.connect_timeout,
                first=first,
                keepalive=config.keepalive,
                before_wait=give_up,
                loop=client.loop,
            )
        except DialError as error:
            reason, detail = error.reason, error.detail
            record.upstream = str(address)
            if reason is Reason.NO_DESCRIPTORS:
                break
        except _ClientGone:
            record.upstream = str(address)
            raise Refused(Reason.CLIENT_CLOSED_WAITING, ended_by=EndedBy.CLIENT) from None
        else:
            record.upstream = upstream.peer
            record.t_connect = monotonic()
            return upstream
    # Under TLS of our own an alert can't be sent by Python's ssl: that client gets a reset.
    if not tells_alerts:
        client.reset()
    alert = Alert.INTERNAL_ERROR if tells_alerts else None
    raise Refused(reason, detail, alert=alert)


class _ClientGone(Exception):
    """The client has reset the connection while it waited for the upstream."""


def _give_up_with(client: Stream) -> None:
    """Stop waiting for the upstream when the client resets; one that only ended its direction waits on."""
    fiber = current_fiber()
    assert fiber is not None

    def on_event(events: int) -> None:
        client.events |= events
        if events & ERROR:
            fiber.abort(_ClientGone())

    if client.hand_over(on_event) & ERROR:  # an edge from before, which is not reported again
        raise _ClientGone


def _client_lost(error: OSError) -> Refused:
    reset = isinstance(error, ConnectionError)
    return Refused(
        Reason.CLIENT_RESET if reset else Reason.CLIENT_LOST, error.strerror, ended_by=EndedBy.CLIENT
    )


async def _take_leave(client: Stream, alert: Alert | None, record: ConnectionRecord) -> None:
    """Send the alert that a refusal owes, and end the client's socket so that it can be read."""
    if record.ended_by is EndedBy.CLIENT and alert is None:
        client.close()
    elif record.reason is Reason.INTERNAL_ERROR:
        client.reset()
    else:
        # A client of SSL 3.0 understands no other version; all others take any (RFC 8446, 5.1).
        version = 0x0300 if client.ahead[1:3] == b"\3\0" else 0x0303
        await farewell(client, b"" if alert is None else alert.record(version))
