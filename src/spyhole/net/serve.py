"""Accept connections on an address and run a handler for each: the accept loop as a library."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from spyhole.errors import PeerError
from spyhole.net.acceptor import Acceptor, ConnectionLimit
from spyhole.net.farewell import farewell, refuse
from spyhole.net.listener import address_of, bind, unlink
from spyhole.net.loop import running_loop
from spyhole.net.tls import TlsError
from spyhole.routing.host_names import InvalidServerName
from spyhole.upstreams.address import UnixAddress, parse_address
from spyhole.wire.alerts import Alert
from spyhole.wire.client_hello import ClientHelloError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from spyhole.net.stream import Stream

log = logging.getLogger("spyhole")


async def serve(
    address: str,
    handle: Callable[[Stream], Awaitable[None]],
    *,
    max_connections: int = 10_000,
    on_listening: Callable[[str], None] | None = None,
) -> None:
    """Accept connections on `address` for ever, and run `handle(client)` for each, as a Task of its own.

    `address` is "127.0.0.1:8443", "[::1]:8443", "*:8443" or "unix:/path"; with port 0 the kernel picks
    one. Once connections are accepted there, `on_listening` is called with each address, real port and
    all, and the logger `spyhole` says it at level info.

    A client that its handler leaves open is closed when the handler returns, and reset when it raises; but
    a `ClientHelloError` or `InvalidServerName` is answered with its alert, and after a `TlsError` the
    client has the time to read the alert that it was sent. What peers do (OSError, `PeerError`,
    TimeoutError) is logged at level info; any other exception is a defect of the handler and goes to the
    loop's exception handler. At `max_connections` no more are accepted until one ends. Cancelling stops
    listening and cancels the handlers. Raises `BindError`, and ValueError for an address that is none.
    """
    loop = running_loop()
    handlers: set[asyncio.Task[None]] = set()

    async def run(client: Stream) -> None:
        try:
            await handle(client)
        except (OSError, PeerError, TimeoutError) as error:
            log.info("%s: %s: %s", client.peer, type(error).__name__, error)
            await _part(client, error)
        except BaseException:
            client.reset()
            raise
        finally:
            client.close()

    def ended(client: Stream, task: asyncio.Task[None]) -> None:
        client.reset()  # still open only if the task was cancelled before it began
        handlers.discard(task)
        limit.leave()
        if not task.cancelled() and (error := task.exception()):
            loop.report(error)

    def accepted(client: Stream) -> None:
        task = loop.create_task(run(client))
        handlers.add(task)
        task.add_done_callback(partial(ended, client))

    def full(most: int) -> None:
        log.warning("%d connections are open, the most allowed: waiting for one to end", most)

    def trouble(error: OSError) -> None:
        log.warning("can't accept: %s", error)

    limit = ConnectionLimit(max_connections, full)
    where = parse_address(address, listening=True)
    (sockets,) = bind(where)
    acceptors = [Acceptor(loop, sock, accepted, limit, trouble) for sock in sockets]
    try:
        for sock in sockets:
            log.info("listening on %s", address_of(sock))
            if on_listening is not None:
                on_listening(address_of(sock))
        await loop.create_future()
    finally:
        for acceptor in acceptors:
            acceptor.close()
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        if isinstance(where, UnixAddress):
            unlink(where)


async def _part(client: Stream, error: Exception) -> None:
    if client.closed:
        return
    if isinstance(error, ClientHelloError):
        await refuse(client, error.alert)
    elif isinstance(error, InvalidServerName):
        await refuse(client, Alert.UNRECOGNIZED_NAME)
    elif isinstance(error, TlsError):
        await farewell(client)
    else:
        client.reset()
