"""`spyhole hello`: a ClientHello in words, from a file or the next one to arrive."""

from __future__ import annotations

import json
import select
import socket
import time
from contextlib import suppress
from typing import Any, Final, NoReturn

import click

from spyhole.cli.hello_file import read_hello_file
from spyhole.cli.options import format_option
from spyhole.net.listener import BindError, address_of, bind, unlink
from spyhole.upstreams.address import AddressError, UnixAddress, parse_address
from spyhole.wire.alerts import Alert
from spyhole.wire.client_hello import NEED_MORE, ClientHello, ClientHelloError, ClientHelloParser, NotTls
from spyhole.wire.describe import describe, printable

HELLO_TIMEOUT: Final = 5.0
"""Seconds from accept to the end of the hello: the proxy's own default."""

_LARGEST: Final = 4 + 2**24
"""Bytes: whatever can be decoded is shown; what the proxy takes is `max_hello_size`."""


class CannotListenError(click.ClickException):
    """The address of --listen can't be had."""

    exit_code = 2


@click.command()
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--listen", metavar="ADDR", help="Wait for a connection here, and decode its hello.")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=300,
    show_default=True,
    help="How long to wait for a connection.",
)
@format_option("For people, or one object for machines.")
def hello(file: str | None, listen: str | None, timeout: float, format_: str) -> None:
    """Decode a ClientHello.

    Shows versions, ciphers, extensions, key shares, post-quantum or not, ECH, JA3 and JA4. FILE is raw or
    hexadecimal; - is stdin. Exit code: 0 for a whole ClientHello, 1 for anything else, 2 for a wrong
    command line.

    \b
    Examples:
      spyhole hello hello.bin
      xxd -p hello.bin | spyhole hello - --format json
      spyhole hello --listen 127.0.0.1:8443      # and then: curl https://127.0.0.1:8443/
    """
    if (file is None) == (listen is None):
        raise click.UsageError("give either a FILE (- is stdin) or --listen ADDR")
    try:
        data = read_hello_file(file, "FILE") if file is not None else _receive(str(listen), timeout)
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None
    try:
        answer = ClientHelloParser(max_size=_LARGEST).feed(data)
    except ClientHelloError as error:
        _fail(format_, error.reason, error.detail, error)
    if isinstance(answer, NotTls):
        _fail(format_, "not_tls", f"the first bytes are not TLS: {printable(data[:16])}")
    if not isinstance(answer, ClientHello):
        _fail(format_, "cut_short", f"{len(data)} bytes are the start of a ClientHello, not the whole")
    description = describe(answer)
    click.echo(json.dumps(description.as_dict()) if format_ == "json" else description.as_text())


def _fail(format_: str, reason: str, detail: str, error: ClientHelloError | None = None) -> NoReturn:
    """Say what is wrong, where, and what the proxy would answer."""
    alert = None if error is None else error.alert
    offset = None if error is None else error.offset
    if format_ == "json":
        told: dict[str, Any] = {"reason": str(reason), "detail": detail, "offset": offset, "alert": None}
        if alert is not None:
            told["alert"] = {"code": int(alert), "name": alert.name.lower()}
        if error is not None and error.server_name is not None:
            told["server_name"] = printable(error.server_name)
        click.echo(json.dumps({"error": told}))
    else:
        click.echo(f"error: {reason}: {detail}", err=True)
        if offset is not None:
            click.echo(f"  at byte {offset} of the handshake message", err=True)
        if error is not None and error.server_name is not None:
            click.echo(f"  server name: {printable(error.server_name)}", err=True)
        if alert is not None:
            click.echo(f"  the proxy answers with alert {alert.name.lower()} ({int(alert)})", err=True)
    raise click.exceptions.Exit(1)


def _receive(listen: str, timeout: float) -> bytes:
    """What the next client to connect sends, up to the end of its hello; it is answered and sent away."""
    try:
        address = parse_address(listen, listening=True)
        listening = bind(address)[0]
    except AddressError as error:
        raise click.UsageError(f"--listen: {error}") from None
    except BindError as error:
        raise CannotListenError(str(error)) from None
    try:
        shown = " and ".join(map(address_of, listening))
        click.echo(f"waiting for a ClientHello on {shown}", err=True)
        ready, _, _ = select.select(listening, [], [], timeout)
        if not ready:
            raise click.ClickException(f"nobody connected to {shown} in {timeout:g} s")
        connection, _ = ready[0].accept()
    finally:
        for sock in listening:
            sock.close()
        if isinstance(address, UnixAddress):
            unlink(address)
    with connection:
        return _read_hello(connection)


def _read_hello(connection: socket.socket) -> bytes:
    parser = ClientHelloParser(max_size=_LARGEST)
    deadline = time.monotonic() + HELLO_TIMEOUT
    received = b""
    alert: Alert | None = Alert.HANDSHAKE_FAILURE  # a good hello goes no further either
    with suppress(OSError):
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            data = connection.recv(65536)
            if not data:
                break
            received += data
            try:
                answer = parser.feed(data)
            except ClientHelloError as error:
                alert = error.alert
                break
            if answer is not NEED_MORE:
                alert = None if isinstance(answer, NotTls) else alert
                break
    with suppress(OSError):
        if alert is not None:
            connection.sendall(alert.record())
        connection.shutdown(socket.SHUT_WR)
        # closing with bytes unread would reset the connection, and with it the alert
        connection.settimeout(1)
        while connection.recv(65536):
            pass
    return received
