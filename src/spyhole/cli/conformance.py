"""`spyhole conformance`: hostile and legal clients against a proxy that routes TLS by name, ours or not."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from spyhole.cli.options import format_option
from spyhole.conformance import cases
from spyhole.conformance.backends import Backends
from spyhole.conformance.document import as_document, markdown
from spyhole.conformance.guide import addresses, files, words
from spyhole.conformance.peers import PEERS
from spyhole.conformance.report import ROUTES, Options, Report
from spyhole.conformance.routes import BACKENDS, SPECIAL, Routes
from spyhole.conformance.suite import BASE, MOST_ROUTES, Suite
from spyhole.conformance.text import Tone, rows
from spyhole.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator

    from spyhole.conformance.case import Case

_STYLES: Final[dict[Tone, dict[str, Any]]] = {
    Tone.TITLE: {"bold": True},
    Tone.PLAIN: {},
    Tone.RIGHT: {"fg": "green"},
    Tone.WRONG: {"fg": "red"},
    Tone.WEAK: {"fg": "yellow"},
}


class CannotRunError(click.ClickException):
    """A proxy is not there, or does not come up; nothing is known of it."""

    exit_code = 2


@click.command()
@click.option(
    "--peer",
    "peers",
    type=click.Choice(list(PEERS)),
    multiple=True,
    help="A proxy that is started for this, suitably configured. Several: one after another.",
)
@click.option("--program", metavar="PATH", help="The peer's program, if it is not on the PATH.")
@click.option("--target", metavar="HOST:PORT", help="A proxy that runs already, set up as --set-up says.")
@click.option(
    "--backends",
    metavar="HOST:PORT",
    default="127.0.0.1:9801",
    show_default=True,
    help=f"For --target: where the backends listen, on this port and the {len(BACKENDS) - 1} behind it.",
)
@click.option(
    "--routes",
    metavar="N[,N]",
    help="For --target, how many names are routed; for --peer, with how many the names are tried."
    f"  [default: {len(SPECIAL)}; {','.join(map(str, ROUTES))}]",
)
@click.option("--terminates", is_flag=True, help="For --target: TLS ends there for two names more.")
@click.option(
    "--deadline",
    metavar="SECONDS",
    type=click.FloatRange(min=0.5),
    default=2.0,
    show_default=True,
    help="What the proxy gives a client for its hello: a peer is told, a target has to be.",
)
@click.option(
    "--patience",
    metavar="SECONDS",
    type=click.FloatRange(min=0.5),
    default=5.0,
    show_default=True,
    help="How long after the deadline a connection counts as left open.",
)
@click.option(
    "--only",
    metavar="GROUP|PATTERN",
    multiple=True,
    help="Only this group, or cases or families of such a name: '*name*'.",
)
@format_option("For people, for machines, or tables for a page.", "markdown")
@click.option(
    "-v", "--verbose", is_flag=True, help="A line for each case, also where a family came out the same."
)
@click.option("--wrong", is_flag=True, help="Only what is wrong, and the summary.")
@click.option("--set-up", is_flag=True, help="Show how the proxy is to be set up, and do nothing else.")
@click.option("--list", "list_", is_flag=True, help="Show the cases, and do nothing else.")
@click.pass_context
def conformance(
    context: click.Context,
    peers: tuple[str, ...],
    program: str | None,
    target: str | None,
    backends: str,
    routes: str | None,
    terminates: bool,
    deadline: float,
    patience: float,
    only: tuple[str, ...],
    format_: str,
    verbose: bool,
    wrong: bool,
    set_up: bool,
    list_: bool,
) -> None:
    """Play hostile and legal clients against a proxy that routes TLS by name: this one, or any other.

    What is right is what OpenSSL makes of the same bytes, as it runs: what it accepts has to reach the
    backend of its server name, unchanged; what it refuses must reach none, and is refused with the same
    alert. The backends are the suite's own. docs/conformance.md has the rules and the cases.

    Exit code: 0 when all is right, 1 when something is not, 2 for a wrong command line or a proxy that does
    not come up.

    \b
    Examples:
      spyhole conformance --peer spyhole
      spyhole conformance --peer haproxy --program /opt/haproxy/sbin/haproxy --wrong
      spyhole conformance --target 192.0.2.7:443 --backends 192.0.2.1:9801 --set-up
    """
    options = Options(deadline, patience, _counts(routes, bool(peers)), only)
    listed = cases.everything(Routes.of(BASE), deadline)
    for pattern in only:
        if not any(case.is_called(pattern) for case in listed):
            raise click.UsageError(f"--only {pattern!r}: no case of that name; --list shows all")
    if list_:
        click.echo("\n".join(_listed(filter(options.wants, listed))))
        return
    if bool(peers) == bool(target):
        raise click.UsageError("give either --peer NAME or --target HOST:PORT")
    for flag in ("backends", "terminates"):
        if peers and context.get_parameter_source(flag) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{flag} goes with --target; a peer is set up by the suite")
    if program is not None and len(peers) != 1:
        raise click.UsageError("--program goes with one --peer")
    proxy = _address("--target", target) if target else None
    own = _address("--backends", backends, ports=len(BACKENDS))
    programs = {name: program or _find(name) for name in peers}
    if set_up:
        names = Routes.of(options.routes[0])
        told = [files(PEERS[name], path, names, deadline) for name, path in programs.items()]
        for lines in told or [words(names, addresses(*own), deadline)]:
            click.echo("\n".join(lines))
        return
    suite = Suite(options, _say if sys.stderr.isatty() else lambda _: None)
    if proxy:
        reports = _run(_against_target(suite, *proxy, *own, terminates=terminates))
    else:
        reports = _run(_against_peers(suite, programs))
    _show(reports, format_, verbose=verbose, wrong=wrong)
    context.exit(0 if all(report.all_right for report in reports) else 1)


async def _against_peers(suite: Suite, programs: dict[str, str]) -> list[Report]:
    return [await suite.against_peer(PEERS[name], program) for name, program in programs.items()]


async def _against_target(
    suite: Suite, host: str, port: int, backend_host: str, first_port: int, *, terminates: bool
) -> list[Report]:
    async with Backends(BACKENDS, backend_host, first_port) as backends:
        return [await suite.against_target(host, port, backends, terminates=terminates)]


def _run(work: Coroutine[Any, Any, list[Report]]) -> list[Report]:
    """Run it to its end; SIGTERM ends it as Ctrl-C does: no proxy is left running."""

    async def cancellable() -> list[Report]:
        task = asyncio.ensure_future(work)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        raise click.exceptions.Exit(128 + signal.SIGTERM) from None
    except (OperatorError, OSError) as error:
        raise CannotRunError(str(error)) from None


def _show(reports: list[Report], format_: str, *, verbose: bool, wrong: bool) -> None:
    documents = [as_document(report) for report in reports] if format_ != "text" else []
    if format_ == "json":
        click.echo(json.dumps(documents if len(documents) > 1 else documents[0], indent=2))
    elif format_ == "markdown":
        click.echo(markdown(documents))
    for report in reports if format_ == "text" else ():
        for row in rows(report, every_case=verbose, only_wrong=wrong):
            click.secho(row.text, **_STYLES[row.tone])


def _listed(wanted: Iterable[Case]) -> Iterator[str]:
    group, family = None, ""
    for case in wanted:
        if case.group is not group:
            group = case.group
            yield f"{group}: {group.description}"
        if not family or case.family != family:
            name = f"{case.family} …" if case.family else case.name
            yield f"  {name} [{case.severity}]: {case.why}" + (f"; {case.cve}" if case.cve else "")
        family = case.family


def _find(name: str) -> str:
    peer = PEERS[name]
    program = peer.find()
    if program is None:
        places = [f"apt-get install {peer.debian}"] if peer.debian else []
        places += [f"pip install {peer.pypi}"] if peer.pypi else []
        raise CannotRunError(
            f"{name} is not here: {' or '.join(places)}, or name its program with --program PATH"
        )
    return program


def _counts(routes: str | None, peers: bool) -> tuple[int, ...]:
    if routes is None:
        return ROUTES if peers else (len(SPECIAL),)
    try:
        counts = tuple(int(word) for word in routes.split(","))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 1 or max(counts) > MOST_ROUTES or not (peers or len(counts) == 1):
        several = "numbers" if peers else "a number"
        raise click.UsageError(f"--routes {routes!r}: give {several} from 1 to {MOST_ROUTES:,}")
    return counts


def _address(flag: str, text: str, *, ports: int = 1) -> tuple[str, int]:
    """Host and first port; so many from it on have to be there."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= (1 << 16) - ports:
        most = f", the port at most {(1 << 16) - ports:,}" if port.isdecimal() and ports > 1 else ""
        raise click.UsageError(f"{flag} {text!r}: give HOST:PORT, as in 127.0.0.1:8443{most}")
    return host.strip("[]"), int(port)


def _say(text: str) -> None:
    click.echo(text, err=True)
