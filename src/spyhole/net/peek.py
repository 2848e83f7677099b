"""Read a whole ClientHello off a stream, without taking it from whoever reads the stream next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spyhole.errors import PeerError
from spyhole.wire.client_hello import ClientHello, ClientHelloParser, NeedMore, NotTls, whole_hello

if TYPE_CHECKING:
    from spyhole.net.stream import Stream


class ClosedEarly(PeerError):
    """The client ended its direction before its ClientHello was whole."""


async def peek(
    client: Stream, timeout: float = 5.0, *, max_size: int = 65_536, max_empty_records: int = 32
) -> ClientHello | NotTls:
    """Return the client's ClientHello, or `NotTls` when its first bytes are something else.

    Every byte read is left in `client.ahead`, so the hello reaches the upstream, or the TLS engine,
    exactly as it was sent, however it was cut over segments and records (RFC 8446, section 5.1).
    `timeout` is absolute, in seconds from this call: a byte each second does not extend it. `max_size` is
    in bytes of handshake, `max_empty_records` a number of records.

    Raises TimeoutError, `ClosedEarly`, `ClientHelloError` (malformed or too large; it knows its alert) and
    OSError, all the client's doing. The caller still owns and closes the client.
    """
    hello = peek_now(client, max_size)
    if hello is not None:
        return hello
    parser = ClientHelloParser(max_size=max_size, max_empty_records=max_empty_records)
    answer = parser.feed(client.ahead)
    read = bytearray(client.ahead)
    client.ahead = b""  # not twice: who sends slowly is to cost little
    try:
        with client.within(timeout):
            while isinstance(answer, NeedMore):
                data = _not_ended(await client.read_some())
                read += data
                answer = parser.feed(data)
    finally:
        client.ahead = bytes(read)
    return answer


def peek_now(client: Stream, max_size: int) -> ClientHello | None:
    """The hello, if it is all there already and in one record, as nearly always; else None: `peek` then.

    Neither waits nor sets a deadline. Raises as `peek` does.
    """
    ahead = client.ahead
    if not ahead:
        try:
            client.ahead = ahead = bytes(_not_ended(client.read_now()))
        except BlockingIOError:
            return None
    return whole_hello(ahead, max_size)


def _not_ended(data: memoryview) -> memoryview:
    if not data:
        raise ClosedEarly("the client ended before its ClientHello was whole")
    return data
