"""`spyhole demo`: the proxy at work, with throwaway certificates and two backends of its own."""

from __future__ import annotations

import json
import signal
import ssl
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from spyhole.cli.demo_backends import Backend
from spyhole.cli.demo_certificates import Authority
from spyhole.cli.demo_commands import commands, curl_sees
from spyhole.cli.demo_proxy import Proxy
from spyhole.cli.demo_table import Column, broken_promises, table
from spyhole.cli.demo_visit import visit, visit_refused
from spyhole.errors import OperatorError
from spyhole.observe.formats import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from spyhole.cli.demo_certificates import Leaf

# .test is reserved (RFC 6761): no name server answers for it.
GIT: Final = "git.spyhole.test"
WWW: Final = "www.spyhole.test"
NOBODY: Final = "nobody.spyhole.test"

_CONFIG: Final = """\
workers = 2
drain_timeout = "1s"

[[listeners]]
bind = "127.0.0.1:0"

[[routes]]
name = "git"
sni = "{git_name}"
upstream = "{git}"

[[routes]]
name = "www"
sni = "{www_name}"
mode = "terminate"
upstream = "{www}"

[[certificates]]
cert = "{www_name}.pem"
key = "{www_name}.key"
"""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.option("--once", is_flag=True, help="End by itself when everything has been shown.")
@click.pass_context
def demo(context: click.Context, once: bool) -> None:
    """See it work, with throwaway certificates and two backends.

    Starts the proxy and two backends on free ports of 127.0.0.1, makes real requests through it, and shows
    what happened to each. Then it prints commands to try, and shows each connection that you make, until
    Ctrl-C. Nothing is left behind.

    Exit code: 0 when all was as promised, 1 when something was not.

    \b
    Examples:
      spyhole demo
      spyhole demo --once
    """
    stops = Stops()
    broken: list[str] | None = None
    try:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spyhole-demo-")))
            authority = Authority(directory)
            own, theirs = authority.issue(WWW, "Spyhole"), authority.issue(GIT, "the git backend")
            git = stack.enter_context(Backend("the git backend", _server_context(theirs)))
            www = stack.enter_context(Backend("the web backend"))
            theirs.key.unlink()  # now nobody but the backend has it
            config = directory / "spyhole.toml"
            config.write_text(_CONFIG.format(git_name=GIT, git=git.address, www_name=WWW, www=www.address))
            proxy = stack.enter_context(Proxy(config, stops.heeded))
            host, port = proxy.wait_until_ready()
            click.echo(f"spyhole listens on {host}:{port}, configured by {config}\n")
            to_try = commands(host, port, authority.cert, config, [GIT, WWW, NOBODY])
            columns = [
                _carried("passed through", GIT, proxy, host, port, authority.cert),
                _carried("terminated", WWW, proxy, host, port, authority.cert),
                _refused("refused", NOBODY, proxy, host, port),
            ]
            for column, command in zip(columns, to_try, strict=False):
                column.curl = curl_sees(command)
                if column.curl is not None:
                    proxy.line_of(server_name=column.server_name)
            click.echo(table(columns, {own.fingerprint: "Spyhole", theirs.fingerprint: "the backend"}))
            click.echo("The access log:\n")
            for column in columns:
                click.secho(f"{column.line}\n", dim=True)
            broken = broken_promises(columns, own.fingerprint, theirs.fingerprint)
            for promise in broken:
                click.secho(f"NOT AS PROMISED: {promise}", fg="red")
            if not broken:
                click.secho("All of it is as promised.", fg="green")
            if not once:
                _watch(proxy, to_try)
    except Stopped as stopped:
        if broken is None:
            context.exit(128 + stopped.number)
    except (OperatorError, OSError) as error:
        raise click.ClickException(str(error)) from None
    context.exit(1 if broken else 0)


def _carried(title: str, server_name: str, proxy: Proxy, host: str, port: int, ca: Path) -> Column:
    seen = visit(host, port, server_name, ssl.create_default_context(cafile=str(ca)))
    return Column(title, server_name, seen, *proxy.line_of(client=seen.source))


def _refused(title: str, server_name: str, proxy: Proxy, host: str, port: int) -> Column:
    seen = visit_refused(host, port, server_name)
    return Column(title, server_name, seen, *proxy.line_of(client=seen.source))


def _watch(proxy: Proxy, to_try: list[str]) -> NoReturn:
    """Show each connection that comes, until `Stopped`."""
    click.echo("\nTry it, in another terminal:\n")
    for command in to_try:
        click.secho(f"  {command}", bold=True)
    click.echo("\nYour connections show up here. Ctrl-C ends the demo, and removes all of it.\n")
    while (line := proxy.next_line()) is not None:
        click.echo(f"  {_story(json.loads(line))}")
    raise OperatorError("the proxy ended by itself:\n" + proxy.said())


def _story(record: dict[str, Any]) -> str:
    name = printable(record["server_name"] or "no server name")
    if record["upstream"] is None:
        return f"{name}: {record['reason']}, alert {record['alert']}"
    moved = f"{record['bytes_in']} bytes in, {record['bytes_out']} out"
    return f"{name}: {record['mode']} to {record['upstream']}, {moved}, {record['reason']}"


def _server_context(leaf: Leaf) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    return context


class Stopped(Exception):
    """A signal asks the demo to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Stops:
    """The signals that end the demo: heeded where it waits, and never in the middle of cleaning up."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._heeded = False
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Within it, a signal raises `Stopped`: one that came before it, at once."""
        self._heeded = True
        try:
            if self._received is not None:
                raise Stopped(self._received)
            yield
        finally:
            self._heeded = False

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        first = self._received is None
        self._received = self._received or number
        if self._heeded and first:
            raise Stopped(number)
