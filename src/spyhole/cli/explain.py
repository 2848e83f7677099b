"""`spyhole explain`: where would this connection go, and why? Opens no socket and changes nothing."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import click

from spyhole.cli.answer import Answer, Doors, Knock
from spyhole.cli.hello_file import read_hello_file
from spyhole.cli.options import config_option, file_or_default, format_option
from spyhole.config.loader import load_with_source
from spyhole.config.problems import ConfigErrors, nearest, one_of
from spyhole.routing.host_names import InvalidServerName, parse_server_name
from spyhole.routing.idna import AmbiguousLabelError, to_ascii
from spyhole.wire.client_hello import NEED_MORE, ClientHelloError, ClientHelloParser, NotTls

if TYPE_CHECKING:
    from spyhole.config.loader import Loaded
    from spyhole.config.model import Config

ROUTED: Final = 0
REFUSED: Final = 1
UNANSWERED: Final = 2


@click.command()
@config_option
@click.option("--sni", metavar="NAME", help="The server name that the client sends.")
@click.option("--no-sni", is_flag=True, help="The client sends no server name.")
@click.option("--not-tls", is_flag=True, help="The client does not speak TLS.")
@click.option(
    "--hello", metavar="FILE", help="What the client sends: a ClientHello, raw or as hex; - is stdin."
)
@click.option(
    "--alpn", metavar="PROTO", multiple=True, help="A protocol that the client offers. Repeatable."
)
@click.option(
    "--from", "client", metavar="IP", help="The client's address.  [default: none, as on a unix socket]"
)
@click.option(
    "--listener", metavar="NAME", help="The listener that it connects to.  [default: each of them]"
)
@format_option("For people, or one object for machines.")
@click.pass_context
def explain(
    context: click.Context,
    file: str | None,
    sni: str | None,
    no_sni: bool,
    not_tls: bool,
    hello: str | None,
    alpn: tuple[str, ...],
    client: str | None,
    listener: str | None,
    format_: str,
) -> None:
    """Show where a connection would go, and why.

    Shows the route, the rules that were tried, the certificate that would be served and the upstream. The
    running proxy decides with the same code. Exit code: 0 if the connection is carried, 1 if it is
    refused, 2 if that can't be told: a wrong command line or configuration.

    \b
    Examples:
      spyhole explain --sni www.example.com --alpn h2 --from 192.0.2.7
      spyhole explain -c spyhole.toml --no-sni --listener public
      spyhole explain --hello captured.bin --format json
    """
    _check_choice(
        {"--sni": sni is not None, "--no-sni": no_sni, "--not-tls": not_tls, "--hello": hello}, alpn
    )
    address = _address(client)
    notes: list[str] = []
    knock = None if hello is not None else _of_flags(sni, not_tls, alpn, notes)
    loaded = _load(context, file)
    config = loaded.config
    listeners = _listeners(config, listener)
    if knock is None:
        assert hello is not None
        knock = _of_file(hello, config)
    doors = Doors(config)
    answers = _distinct([doors.answer(knock, address, name) for name in listeners])
    if address is None and any(answer.fails_on("from") for answer in answers):
        notes.append("a rule was passed over for its `from`: give the client's address with --from")
    if format_ == "json":
        question = {**knock.to_json(), "from": address, "hello": hello}
        answered = [answer.to_json() for answer in answers]
        click.echo(json.dumps({"question": question, "answers": answered, "notes": notes}, indent=2))
    else:
        shown = [answer.as_text(knock, name_listeners=len(answers) > 1) for answer in answers]
        click.echo("\n\n".join([*shown, *filter(None, ["\n".join(f"note: {note}" for note in notes)])]))
    if doors.error is not None:
        click.echo(str(loaded.errors(doors.error.findings)), err=True)
        context.exit(UNANSWERED)
    context.exit(REFUSED if any(answer.refusal for answer in answers) else ROUTED)


def _check_choice(given: dict[str, object], alpn: tuple[str, ...]) -> None:
    """Exactly one of the flags that say what the client sends."""
    flags = [flag for flag, value in given.items() if value]
    if not flags:
        raise click.UsageError(
            "what does the client send? give --sni NAME, --no-sni, --not-tls or --hello FILE"
        )
    if len(flags) > 1:
        raise click.UsageError(f"{' and '.join(flags)} exclude each other")
    if alpn and flags[0] in ("--not-tls", "--hello"):
        raise click.UsageError(f"--alpn and {flags[0]} exclude each other")


def _of_flags(sni: str | None, not_tls: bool, alpn: tuple[str, ...], notes: list[str]) -> Knock:
    if not_tls:
        return Knock(None, tls=False)
    for protocol in alpn:
        if not 1 <= len(protocol.encode()) <= 255:
            raise click.UsageError(f"--alpn {protocol!r}: expected 1 to 255 bytes, as in 'h2'")
    name = None
    if sni is not None:
        try:
            sent = to_ascii(sni)
            name = parse_server_name(sent.encode("ascii"))
        except (InvalidServerName, AmbiguousLabelError) as error:
            problem = error.problem if isinstance(error, InvalidServerName) else str(error)
            raise click.UsageError(
                f"--sni {sni!r} is not a host name: {problem}; a client that sends it is refused"
            ) from None
        if name is None:
            notes.append(f"{sni!r} is an IP address, which counts as no server name")
        elif sent != sni:
            notes.append(f"{sni!r} is sent as {sent!r}")
    return Knock(name, tuple(protocol.encode() for protocol in alpn))


def _of_file(path: str, config: Config) -> Knock:
    data = read_hello_file(path)
    parser = ClientHelloParser(max_size=config.max_hello_size, max_empty_records=config.max_empty_records)
    try:
        hello = parser.feed(data)
        if hello is NEED_MORE:
            raise click.UsageError(
                f"--hello {path!r}: {len(data)} bytes, and the ClientHello is not whole; "
                "a client that stops there is refused after `hello_timeout`"
            )
        if isinstance(hello, NotTls):
            return Knock(None, tls=False)
        name = None if hello.server_name is None else parse_server_name(hello.server_name)
    except (ClientHelloError, InvalidServerName) as error:
        return Knock(None, error=error)
    return Knock(name, hello.alpn, versions=hello.versions)


def _load(context: click.Context, file: str | None) -> Loaded:
    file = file_or_default(file)
    try:
        return load_with_source(file)
    except ConfigErrors as errors:
        click.echo(str(errors), err=True)
        context.exit(UNANSWERED)


def _address(client: str | None) -> str | None:
    if client is None:
        return None
    try:
        return str(ip_address(client.removeprefix("[").removesuffix("]")))
    except ValueError:
        hint = ""
        host, colon, port = client.rpartition(":")
        if colon and port.isdecimal():
            hint = f"; without the port it is {host!r}"
        elif "/" in client:
            hint = "; it is one client's, not a network"
        raise click.UsageError(
            f"--from {client!r}: expected an IP address, as in '192.0.2.7' or '2001:db8::7'{hint}"
        ) from None


def _listeners(config: Config, wanted: str | None) -> list[str]:
    names = [listener.name for listener in config.listeners]
    if wanted is None:
        return names
    if wanted in names:
        return [wanted]
    meant = nearest(wanted, names)
    raise click.UsageError(
        f"--listener {wanted!r}: there is none of that name, "
        + (f"did you mean {meant!r}?" if meant else f"expected {one_of(names)}")
    )


def _distinct(answers: list[Answer]) -> list[Answer]:
    """One for each outcome, with the listeners that it is for."""
    found: list[Answer] = []
    for answer in answers:
        same = next((index for index, other in enumerate(found) if other.same_as(answer)), None)
        if same is None:
            found.append(answer)
        else:
            found[same] = found[same]._replace(listeners=found[same].listeners + answer.listeners)
    return found
